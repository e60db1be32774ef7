"""Large arrays through shared memory: slots, and the leases by which arrays own them.

Rules of this module.

- It knows slots, which side may write into which of them, and when. It never knows frames, spaces or envs.
- It runs on both sides, from Python 3.6 up. Each side lends to the other; what one calls a slot of its own, the other
  calls theirs.
- Everything that one frame changes is changed by ``Notes.settle`` (sending) and ``Arena.receive`` (receiving). Both can
  be repeated after an interrupt, at whatever line it came; ``channel.py`` says when that is done.

Theory of operation.

*Slots.* A slot is a memory file of its own, mapped on both sides and then closed: it needs no descriptor and no name,
and what is leased outlives the connection, and the other process too. Its size is that of the array that it was made
for, rounded up by an eighth at most. An array goes into any free slot that holds it and is not twice as large, and of
several into the one that was used last. So arrays whose size changes from step to step share a few slots.

*Announcing.* The lender makes a slot and passes its descriptor through a socket beside the stream. The next frame says
that there is one (ANNOUNCED). The other side maps it, or refuses it with its next frame (RETURNED and RETIRED): it may
have no descriptor left, or no memory. Both sides send in turn, so from the lender's next turn on a slot that was not
refused may be used. Until then, and wherever no slot can be had, arrays travel inline.

*Leases.* The lender copies an array into a free slot of its own and names the slot in the frame (LENT). The receiver
makes a lease of it: memory for an array that lies where it was written. When the last view of that array dies, so does
the lease; C code notes that (a weak reference calls ``list.append``), since Python code in a finalizer can neither be
repeated nor pass on what a signal's handler raises. The slot's number goes back with the next frame (RETURNED). Until
then nobody writes into the slot, so what a user keeps does not change.

*Offers.* Memory that a client has announced may also be offered with a call (OFFERED), for the answer to be written
there. ``client/batch_memory.py`` does so.

*Bounds.* ``limit_bytes`` bounds what both sides lend together. What has not been used for SWEEP_CALLS calls is given
up (OFFERED and RETIRED: forget this slot), and so is what has been unused for longest where a new slot needs the room.

*Order.* The frame that names a slot is sent after the slot was written, and read before the slot is: a system call on
each side orders the two. Nothing here waits for memory to change.

*Forks.* A child of fork() sees the same memory as its parent, who would go on writing into slots once it has given them
back. So at a fork every slot that is leased is forgotten, and returned with the word never to write into it again.

What must change together: the flags below and VERSION in ``protocol/frames.py``.
"""

from gym_service.protocol.frames import LENT
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import BadValue
from gym_service.transport import fd_passing, shared_memory
from gym_service.transport.slots import (
    ANNOUNCED,
    CAN_RETIRE,
    MAX_NUMBER,
    NUMBER_SHIFT,
    OFFERED,
    RETIRED,
    RETURNED,
    SIZE_MASK,
    Slot,
    capacity_for,
    retire_at_forks,
)
from gym_service.transport.streams import close_all

try:
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

# Below this an array costs about as much through the stream as by the slot. An estimate: the edge was not measured.
LEAST_BYTES = 16384
# What both sides of a channel lend at most, unless ``arena_mib`` says otherwise.
LIMIT_BYTES = 256 * 2**20
# How many slots of one size there are at most. A new one costs as much as ten copies of a small frame, so slots are for
# users who drop frames again, be it after a stack of sixteen; those who keep all of them are better off with copies.
MOST_OF_A_SIZE = 32
# How many slots go back in one frame at most; the rest go with the next.
MOST_RETURNS = 256
# A slot that was not used during so many calls is given up. A power of two.
SWEEP_CALLS = 1024


def over_socket(sock, limit_bytes=LIMIT_BYTES):
    """An Arena whose memory is handed over through a connected Unix socket, which it owns; None where it cannot be."""
    if ctypes is None or not fd_passing.IS_SUPPORTED:
        sock.close()
        return None
    return Arena(sock, limit_bytes)


class Arena:
    """One side's end: it lends to the other, and leases from it."""

    def __init__(self, sock, limit_bytes):
        self.limit_bytes = limit_bytes
        self._handover = fd_passing.Handover(sock)
        # What is lent.
        self._slots = {}  # ours, by number
        self._pool = []  # those of them that arrays are copied into
        self._told = 0  # how many a frame has announced
        self._given_up = []
        self._refused_in = -SWEEP_CALLS  # the last call in which no slot could be had; for a while none is tried then
        self._making_fds = []  # not empty only while a slot is being made, or after that was interrupted
        # What is leased.
        self._theirs = {}  # their slots, by number
        self._dead = []  # weak references to leases that have died
        self._refused = []  # numbers of slots of theirs that cannot be mapped here
        retire_at_forks(self)

    # -- what is sent ----------------------------------------------------------------------------------------------

    def is_due(self, call_id):
        """Whether the next frame has something to say of slots, even if it has no array."""
        return (
            self._dead
            or self._refused
            or self._given_up
            or self._told != len(self._handover.sent)
            or not call_id % SWEEP_CALLS
        )

    def compose(self, buffers, offers, call_id):
        """(The buffers of a frame, with descriptors in place of those that lie in a slot; Notes to be settled).

        Blocks for a copy of each large array, and for the system calls of a new slot where none is free. Until the
        notes are settled nothing has changed but memory that is free, and slots that nobody has been told of.
        """
        if self._making_fds or not call_id % SWEEP_CALLS:
            self._tidy(call_id)
        descriptors, lent, wanted = [], [], []
        for buffer in buffers:
            size_bytes = buffer.nbytes
            slot = self._free_slot(size_bytes, lent, call_id) if size_bytes >= LEAST_BYTES else None
            if slot is not None:
                slot.write(buffer)
                slot.used_in = call_id
                lent.append(slot)
                buffer = LENT | slot.number << NUMBER_SHIFT | size_bytes
            elif size_bytes >= LEAST_BYTES:
                wanted.append(capacity_for(size_bytes))
            descriptors.append(buffer)
        if wanted:
            self._make_slots(wanted, call_id)
        notes = Notes()
        notes.arena, notes.call_id, notes.lent, notes.is_settled = self, call_id, lent, False
        # All that are refused, at once: from its next frame on the other side counts on the others.
        notes.dead, notes.refused = self._dead[:MOST_RETURNS], list(self._refused)
        notes.given_up, notes.told = self._given_up[:MOST_RETURNS], len(self._handover.sent)
        for lease in notes.dead:  # one whose slot is not known here any more was retired by a fork
            flags = LENT | RETURNED if lease.number in self._theirs else LENT | RETURNED | RETIRED
            descriptors.append(flags | lease.number << NUMBER_SHIFT)
        if notes.told != self._told:
            descriptors.append(LENT | ANNOUNCED | (notes.told - 1) << NUMBER_SHIFT)
        if notes.refused:
            descriptors += [LENT | RETURNED | RETIRED | number << NUMBER_SHIFT for number in notes.refused]
        if notes.given_up:
            descriptors += [LENT | OFFERED | RETIRED | slot.number << NUMBER_SHIFT for slot in notes.given_up]
        descriptors += offers
        return descriptors, notes

    def _free_slot(self, size_bytes, taken, call_id):
        """A free slot that holds so many bytes, and not twice as many; None where there is none.

        Of several, the one that was used last: so where sizes change, a few slots hold everything, and others are idle.
        """
        found = None
        for slot in self._pool:
            if size_bytes <= slot.size_bytes <= 2 * size_bytes and not slot.is_out:
                is_better = found is None or slot.used_in > found.used_in
                if is_better and slot.told_in not in (None, call_id) and slot not in taken:
                    found = slot
        return found

    def _make_slots(self, wanted, call_id):
        """Make slots for what found no free one in this frame. They can be used from the next call on."""
        if (call_id - self._refused_in) % 2**32 < SWEEP_CALLS:
            return
        for capacity in set(wanted):
            same = [slot.told_in for slot in self._pool if slot.size_bytes == capacity]
            on_the_way = same.count(None) + same.count(call_id)
            try:
                for _ in range(min(wanted.count(capacity) - on_the_way, MOST_OF_A_SIZE - len(same))):
                    if self.has_room(capacity, call_id):
                        self._make_slot(capacity)
            except OSError as error:  # no memory, no descriptor, or nobody there: arrays travel inline
                if is_foreign(error):
                    raise
                self._undo_making()
                self._refused_in = call_id

    def _make_slot(self, capacity):
        fds = self._making_fds
        shared_memory.create(capacity, fds)
        self._pool.append(self._slots[self.announce(fds[0], shared_memory.Memory(fds[0], capacity))])
        close_all(fds)

    def _tidy(self, call_id):
        """Undo what an interrupt has left half done, and now and then give up what is not used any more."""
        if self._making_fds:
            self._undo_making()
        for slot in [] if call_id % SWEEP_CALLS else self._idle_slots(call_id):
            if (call_id - slot.used_in) % 2**32 >= SWEEP_CALLS:
                self.give_up(slot.number)

    def _undo_making(self):
        """Forget the slot whose making has failed or was interrupted; if it was announced, have it forgotten there."""
        close_all(self._making_fds)
        self._slots.pop(len(self._handover.sent), None)
        last = self._slots.get(len(self._handover.sent) - 1)
        if last is not None and last.told_in is None and last not in self._pool:
            self.give_up(last.number)

    def _idle_slots(self, call_id):
        return [slot for slot in self._pool if not slot.is_out and slot.told_in is not None and slot.used_in != call_id]

    # -- memory of ours, for batch_memory.py too -------------------------------------------------------------------

    def has_room(self, size_bytes, call_id=None):
        """Whether so much more may be lent. If not, what has been idle for longest is given up, to make room later."""
        held = [slot.size_bytes for slots in (self._slots, self._theirs) for slot in slots.values()]
        lacking_bytes = sum(held) + size_bytes - self.limit_bytes
        if lacking_bytes <= 0:
            return True
        lacking_bytes -= sum([slot.size_bytes for slot in self._given_up])
        for slot in sorted(self._idle_slots(call_id), key=lambda slot: slot.used_in):
            if lacking_bytes > 0:
                self.give_up(slot.number)
                lacking_bytes -= slot.size_bytes
        return False

    @property
    def next_number(self):
        """The number of what is announced next."""
        return len(self._handover.sent)

    def announce(self, fd, memory):
        """Hand memory over to the other side; its number. It may be used once ``is_known``. Raises OSError."""
        number = self.next_number
        if number > MAX_NUMBER:
            raise OSError("all %d numbers of slots are used up" % number)
        self._slots[number] = Slot(memory, number)
        self._handover.send(fd, memory.size_bytes)
        return number

    def is_known(self, number):
        """Whether the other side has memory that was announced: it was told of it in a call that has been answered."""
        return number in self._slots and self._slots[number].told_in is not None

    def is_refused(self, number):
        """Whether the other side could not take memory that was announced, or has been told to forget it."""
        return number not in self._slots

    def offer(self, number):
        """A descriptor that lets the other side write its answer into memory that it has."""
        return LENT | OFFERED | number << NUMBER_SHIFT | self._slots[number].size_bytes

    def give_up(self, number):
        """Have the other side forget memory that was announced, with the next frame. Any number of times."""
        if number >= self.next_number:  # it was never announced
            self._slots.pop(number, None)
        slot = self._slots.get(number)
        if slot is not None:
            slot.told_in = None  # it is used no more
            if slot not in self._given_up:
                self._given_up.append(slot)
            self._pool = [other for other in self._pool if other is not slot]

    # -- what is received ------------------------------------------------------------------------------------------

    def split(self, descriptors):
        """(those of a frame that stand for its buffers, those that say something else)."""
        buffers = [each for each in descriptors if each < LENT or not each & ANNOUNCED]
        if len(buffers) == len(descriptors):
            return buffers, ()
        return buffers, [each for each in descriptors if each >= LENT and each & ANNOUNCED]

    def lease(self, descriptor):
        """The memory of a slot that a frame names: a buffer of as many bytes. ``receive`` makes it own the slot.

        Raises BadValue where the other side has announced no such slot, or has lent it already.
        """
        number, size_bytes = descriptor >> NUMBER_SHIFT & MAX_NUMBER, descriptor & SIZE_MASK
        slot = self._theirs.get(number)
        if slot is None or slot.is_out or not 0 < size_bytes <= slot.size_bytes:
            raise BadValue("slot %d of %d bytes was named and is not to be had" % (number, size_bytes))
        buffer = slot.lease(size_bytes)
        if CAN_RETIRE:
            return buffer
        slot.lend_to(buffer, self._dead.append)
        return bytearray(buffer)

    def receive(self, frame, missing):
        """Make the frame's leases own their slots, and do what else it says. Raises BadValue where that is a lie."""
        if missing.notices and not missing.is_verified:
            self._verify(missing.notices)
            missing.is_verified = True
        for buffer in frame.buffers:
            lease = buffer.obj if type(buffer) is memoryview else buffer
            if isinstance(lease, ctypes.Array):
                lease.slot.lend_to(lease, self._dead.append)
        offers = []
        for descriptor in missing.notices:
            number, flags = descriptor >> NUMBER_SHIFT & MAX_NUMBER, descriptor & ANNOUNCED
            if flags == ANNOUNCED:
                while self._handover.received <= number:
                    self._handover.receive(self._map)
            elif descriptor & RETIRED:
                self._forget(number, flags, frame.call_id)
            elif flags == RETURNED:
                self._slots[number].is_out = False
            else:
                offers.append(self._theirs[number].bytes)
        frame.offers = tuple(offers)

    def _verify(self, notices):
        """Raise BadValue where a frame says what cannot be; nothing has been changed by then."""
        returned = set()
        for descriptor in notices:
            number, flags = descriptor >> NUMBER_SHIFT & MAX_NUMBER, descriptor & ANNOUNCED
            if flags == RETURNED:
                slot = self._slots.get(number)
                is_lie = slot is None or number in returned or not (slot.is_out or descriptor & RETIRED)
                returned.add(number)
            else:
                slot = self._theirs.get(number)
                is_lie = flags == OFFERED and (slot.is_out if slot else not descriptor & RETIRED)
            if is_lie:
                raise BadValue("slot %d is not to be had, or is not out" % number)

    def _forget(self, number, flags, call_id):
        """Forget a slot of theirs that is given up, or one of ours that has been refused, or retired by a fork."""
        if flags == OFFERED:
            self._theirs.pop(number, None)
            if number in self._refused:
                self._refused.remove(number)
        elif number in self._slots:
            slot = self._slots[number]
            if not slot.is_out:
                self._refused_in = call_id
            self._pool = [other for other in self._pool if other is not slot]
            self._slots.pop(number, None)

    def _map(self, number, size_bytes, fds):
        """Map memory that was handed over, or refuse it: no descriptor, no memory, or more than the limit."""
        try:
            held_bytes = sum([slot.size_bytes for slot in self._theirs.values()])
            if len(fds) == 1 and 0 < size_bytes <= self.limit_bytes - held_bytes:
                shared_memory.check(fds[0], size_bytes)
                self._theirs[number] = Slot(shared_memory.Memory(fds[0], size_bytes), number)
        except OSError as error:
            if is_foreign(error):
                raise
        if number not in self._theirs and number not in self._refused:
            self._refused.append(number)

    # -- ends ------------------------------------------------------------------------------------------------------

    def retire(self):
        """Forget every slot that is leased: a fork is about to copy the leases, and they must see no other frame."""
        for number, slot in list(self._theirs.items()):
            if slot.is_out:
                del self._theirs[number]

    def close(self):
        """Lend and lease no more. What is leased stays, for as long as anything can see it."""
        self._handover.close()
        close_all(self._making_fds)
        self._theirs, self._slots, self._pool, self._given_up = {}, {}, [], []


class Notes:
    """What a frame changes here once it is sent: nothing, until ``settle`` is called."""

    __slots__ = ("arena", "call_id", "dead", "given_up", "is_settled", "lent", "refused", "told")

    def settle(self):
        """Note that the frame is sent, or will be. It can be repeated: an interrupt may have come in the middle."""
        arena, dead = self.arena, self.dead
        for slot in self.lent:
            slot.is_out = True
        for lease in dead:
            slot = arena._theirs.get(lease.number)
            if slot is not None:
                slot.is_out = False
        if dead and arena._dead[: len(dead)] == dead:
            del arena._dead[: len(dead)]
        if self.told != arena._told or self.refused or self.given_up:
            self._settle_changes(arena)
        self.is_settled = True

    def _settle_changes(self, arena):
        """Likewise of what seldom changes: which slots there are."""
        for number in range(arena._told, self.told):
            slot = arena._slots.get(number)
            if slot is not None and slot not in arena._given_up:
                slot.told_in = slot.used_in = self.call_id
        arena._told = self.told
        for slot in self.given_up:
            arena._slots.pop(slot.number, None)
        arena._given_up = [slot for slot in arena._given_up if slot not in self.given_up]
        arena._refused = [number for number in arena._refused if number not in self.refused]
