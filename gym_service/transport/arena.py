"""Large arrays through shared memory: slots, and the leases by which arrays own them.

Rules of this module.

- It knows slots, which side may write into which of them, and when. It never knows frames, spaces or envs.
- It runs on both sides, from Python 3.6 up. Each side lends to the other. "Ours" are the slots that this side made,
  "theirs" those of the other side.
- Only ``Notes.settle`` (sending, ``notes.py``) and ``Arena.receive`` (receiving) make the changes of a frame, and
  ``leased_frames.py`` does for the usual ones. All can be repeated after an interrupt; ``channel.py`` says when.

Theory of operation.

*Slots.* A slot is its own memory file, mapped on both sides. Its descriptor is then closed, so it needs neither a
descriptor nor a name, and a leased slot outlives the connection and the other process. Its size is that of the array
that it was made for, rounded up by an eighth at most. An array goes into a free slot that holds it and is at most twice
as large; of several, into the one that was used last. So arrays whose size changes from step to step share a few slots.

*Announcing.* The lender makes a slot and passes its descriptor through a socket beside the stream. The next frame
announces it (ANNOUNCED). The other side maps the slot or refuses it in its next frame (RETURNED and RETIRED): it may
have no descriptor or memory left. Both sides send in turn, so the lender may use a slot from its next turn on, unless
it was refused. Until then, and wherever no slot can be made, arrays travel inline.

*Leases.* The lender copies an array into a free slot of its own and names the slot in the frame (LENT). The receiver
makes a lease of it: the memory of an array, in place. The lease dies with the last view of that array. C code records
that (a weak reference calls ``list.append``), since Python code in a finalizer can neither be repeated nor pass on an
exception of a signal handler. The slot's number goes back with the next frame (RETURNED). Until then neither side
writes into the slot, so an array that a user keeps does not change.

*Offers.* A client may offer announced memory with a call (OFFERED), so that the server writes its answer there:
``client/batch_memory.py`` does.

*Bounds.* ``limit_bytes`` bounds what both sides lend together. A slot that is unused for SWEEP_CALLS calls is given up
(OFFERED and RETIRED: forget this slot), and so is the slot unused for longest if a new one needs the room.

*Order.* A frame that names a slot is sent after the slot is written, and received before the slot is read. A system
call on each side orders the two. No code here waits for memory to change.

*Forks.* A child of fork() sees the same memory as its parent, who would reuse a slot once the parent has returned it.
So at a fork the parent forgets every slot with a live lease. It later returns the slot as retired: never to be written
again. In the child, leased memory becomes private (``forks.py``), and a call that a fork interrupts ends in an error.

What must change together: the flags in ``slots.py`` and VERSION in ``protocol/frames.py``; this file, ``notes.py`` and
``leased_frames.py``.
"""

from gym_service.protocol.frames import LENT
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import BadValue
from gym_service.transport import fd_passing, shared_memory
from gym_service.transport.forks import HAS_HOOKS, Holder, tell_of_forks
from gym_service.transport.notes import Notes
from gym_service.transport.slots import (
    ANNOUNCED,
    GONE,
    MAX_NUMBER,
    NUMBER_SHIFT,
    OFFERED,
    RETIRED,
    RETURNED,
    SIZE_MASK,
    Slot,
    capacity_for,
)
from gym_service.transport.streams import close_all

try:
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

# Below this size the stream costs about as much as a slot. An estimate: the threshold was not measured.
LEAST_BYTES = 16384
# The most that both sides of a channel lend, unless ``arena_mib`` says otherwise.
LIMIT_BYTES = 256 * 2**20
# The most slots of one size. A new slot costs as much as ten copies of a small frame, so slots are for users who drop
# frames again, perhaps after a stack of sixteen. Copies are better for users who keep all frames.
MOST_OF_A_SIZE = 32
# The most slots that one frame returns; the others follow in the next frame.
MOST_RETURNS = 256
# A slot that is unused for this many calls is given up. A power of two.
SWEEP_CALLS = 1024


def over_socket(sock, limit_bytes=LIMIT_BYTES):
    """An Arena that hands memory over through a connected Unix socket, which it owns; None where that is impossible."""
    if ctypes is None or not fd_passing.IS_SUPPORTED:
        sock.close()
        return None
    return Arena(sock, limit_bytes)


class Arena(Holder):
    """One side's end of the shared memory: it lends to the other side and leases from it."""

    def __init__(self, sock, limit_bytes):
        self.limit_bytes = limit_bytes
        self._handover = fd_passing.Handover(sock)
        # The slots that this side lends.
        self._slots = {}  # ours, by number
        self._pool = []  # those of ours that arrays are copied into
        self._told = 0  # how many of ours a frame has announced
        self._given_up = []
        self._refused_in = -SWEEP_CALLS  # the last call in which no slot could be made; no attempt for some calls then
        self._making_fds = []  # not empty only while a slot is being made, or after an interrupt of that
        # The slots that this side leases.
        self._theirs = {}  # by number; a fork removes some at any time, in another thread or in a signal handler
        self._dead = []  # weak references to dead leases
        self._refused = []  # numbers of those that cannot be mapped here
        self.forks = {}  # by the forks that have begun: the leases that were dead before
        tell_of_forks(self)

    # -- what is sent ----------------------------------------------------------------------------------------------

    def is_due(self, call_id):
        """Whether the next frame must carry slot notices, even if it has no array."""
        return (
            self._dead
            or self._refused
            or self._given_up
            or self._told != len(self._handover.sent)
            or not call_id % SWEEP_CALLS
        )

    def compose(self, buffers, offers, call_id):
        """(The buffers of a frame, with a descriptor in place of each that lies in a slot; Notes to settle).

        Blocks for a copy of each large array, and for the system calls of a new slot if none is free. Until the notes
        are settled, only free memory has changed, and slots that no frame has announced.
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
        # All refused slots at once: from its next frame on, the other side uses every slot that was not refused.
        notes.dead, notes.refused = self._dead[:MOST_RETURNS], list(self._refused)
        notes.given_up, notes.told = self._given_up[:MOST_RETURNS], len(self._handover.sent)
        for lease in notes.dead:
            flags = LENT | RETURNED if self._may_be_reused(lease) else LENT | RETURNED | RETIRED
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
        """A free slot that holds so many bytes but not twice as many; None if there is none.

        Of several, the one used last: then a few slots hold arrays of changing sizes, and the other slots stay idle.
        """
        found = None
        for slot in self._pool:
            if size_bytes <= slot.size_bytes <= 2 * size_bytes and not slot.is_out:
                is_better = found is None or slot.used_in > found.used_in
                if is_better and slot.told_in not in (None, call_id) and slot not in taken:
                    found = slot
        return found

    def _make_slots(self, wanted, call_id):
        """Make slots for the arrays of this frame that found none. They can be used from the next call on."""
        if (call_id - self._refused_in) % 2**32 < SWEEP_CALLS:
            return
        for capacity in set(wanted):
            same = [slot.told_in for slot in self._pool if slot.size_bytes == capacity]
            on_the_way = same.count(None) + same.count(call_id)
            try:
                for _ in range(min(wanted.count(capacity) - on_the_way, MOST_OF_A_SIZE - len(same))):
                    if self.has_room(capacity, call_id):
                        self._make_slot(capacity)
            except OSError as error:  # no memory, no descriptor or no peer: arrays travel inline
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
        """Undo what an interrupt left half done, and give up unused slots from time to time."""
        if self._making_fds:
            self._undo_making()
        for slot in [] if call_id % SWEEP_CALLS else self._idle_slots(call_id):
            if (call_id - slot.used_in) % 2**32 >= SWEEP_CALLS:
                self.give_up(slot.number)

    def _undo_making(self):
        """Forget a slot whose making failed or was interrupted; if it was announced, the other side forgets it too."""
        close_all(self._making_fds)
        self._slots.pop(len(self._handover.sent), None)
        last = self._slots.get(len(self._handover.sent) - 1)
        if last is not None and last.told_in is None and last not in self._pool:
            self.give_up(last.number)

    def _idle_slots(self, call_id):
        return [slot for slot in self._pool if not slot.is_out and slot.told_in is not None and slot.used_in != call_id]

    # -- memory of ours, for batch_memory.py too -------------------------------------------------------------------

    def has_room(self, size_bytes, call_id=None):
        """Whether so many more bytes may be lent. If not, gives up the longest idle slots, to make room later."""
        held = [slot.size_bytes for slots in (self._slots, self._theirs) for slot in list(slots.values())]
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
        """The number of the next announcement."""
        return len(self._handover.sent)

    def announce(self, fd, memory):
        """Hand memory over to the other side. Returns its number; usable once ``is_known``. Raises OSError."""
        number = self.next_number
        if number > MAX_NUMBER:
            raise OSError("all %d numbers of slots are used up" % number)
        self._slots[number] = Slot(memory, number)
        self._handover.send(fd, memory.size_bytes)
        return number

    def is_known(self, number):
        """Whether the other side knows announced memory: the call whose frame announced it has been answered."""
        return self._slots.get(number, GONE).told_in is not None

    def is_refused(self, number):
        """Whether the other side could not map announced memory, or has been told to forget it."""
        return number not in self._slots

    @staticmethod
    def offer(number, size_bytes):
        """A descriptor that lets the other side write its answer into memory of this size that it knows."""
        return LENT | OFFERED | number << NUMBER_SHIFT | size_bytes

    def give_up(self, number):
        """Make the other side forget announced memory, with the next frame. May be called repeatedly."""
        if number >= self.next_number:  # it was never announced
            self._slots.pop(number, None)
        slot = self._slots.get(number)
        if slot is not None:
            slot.told_in = None  # no longer used
            if slot not in self._given_up:
                self._given_up.append(slot)
            self._pool = [other for other in self._pool if other is not slot]

    # -- what is received ------------------------------------------------------------------------------------------

    def split(self, descriptors):
        """(A frame's descriptors that stand for buffers, its other descriptors: the notices)."""
        buffers = [each for each in descriptors if each < LENT or not each & ANNOUNCED]
        if len(buffers) == len(descriptors):
            return buffers, ()
        return buffers, [each for each in descriptors if each >= LENT and each & ANNOUNCED]

    def returned(self, descriptors):
        """The slots that a frame returns with these descriptors; None if they are anything else."""
        slots = []
        for descriptor in descriptors:
            slot = self._slots.get(descriptor >> NUMBER_SHIFT & MAX_NUMBER)
            is_return = descriptor & ~(MAX_NUMBER << NUMBER_SHIFT) == LENT | RETURNED
            if not is_return or slot is None or not slot.is_out or slot in slots:
                return None
            slots.append(slot)
        return slots

    def lease(self, descriptor):
        """A buffer in the slot that a frame names. ``Slot.lend_to`` makes it the slot's lease.

        Raises BadValue if the other side has not announced that slot, or has lent it already.
        """
        number, size_bytes = descriptor >> NUMBER_SHIFT & MAX_NUMBER, descriptor & SIZE_MASK
        slot = self._theirs.get(number)
        if slot is None or slot.is_out or not 0 < size_bytes <= slot.size_bytes:
            raise BadValue("slot %d of %d bytes was named but is not available" % (number, size_bytes))
        buffer = slot.lease(size_bytes)
        if HAS_HOOKS:
            return buffer
        slot.lend_to(buffer, self._dead.append)
        return bytearray(buffer)

    def receive(self, frame, missing):
        """Record the frame's leases in their slots, and follow its notices. Raises BadValue if a notice is invalid."""
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
                self._slots.get(number, GONE).is_out = False
            else:
                offers.append(self._theirs.get(number, GONE).bytes)
        frame.offers = tuple(offers)

    def _verify(self, notices):
        """Raise BadValue if a notice is impossible, before anything changes."""
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
                raise BadValue("slot %d does not exist, or is not lent" % number)

    def _forget(self, number, flags, call_id):
        """Forget a slot of theirs that is given up, or one of ours that is refused or that a fork has retired."""
        if flags == OFFERED:
            self._theirs.pop(number, None)
            if number in self._refused:
                self._refused.remove(number)
        else:
            slot = self._slots.get(number, GONE)
            if not slot.is_out:
                self._refused_in = call_id
            self._pool = [other for other in self._pool if other is not slot]
            self._slots.pop(number, None)

    def _map(self, number, size_bytes, fds):
        """Map memory that was handed over, or refuse it: no descriptor, no memory, or above the limit."""
        fds = list(fds)  # another thread may close the arena, and with it these
        try:
            held_bytes = sum([slot.size_bytes for slot in list(self._theirs.values())])
            if len(fds) == 1 and 0 < size_bytes <= self.limit_bytes - held_bytes:
                shared_memory.check(fds[0], size_bytes)
                self._theirs[number] = Slot(shared_memory.Memory(fds[0], size_bytes), number)
        except OSError as error:
            if is_foreign(error):
                raise
        if number not in self._theirs and number not in self._refused:
            self._refused.append(number)

    # -- ends ------------------------------------------------------------------------------------------------------

    def begin_fork(self, fork):
        """Forget every slot with a live lease: a fork is about to copy it, and its content must never change."""
        self.forks[fork] = list(self._dead)
        self._retire_leased()

    def end_fork(self, fork):
        """Forget the slots whose leases came after ``begin_fork``, also those that have died since then."""
        self._retire_leased()
        for lease in list(self._dead):  # a copy: another thread may return some of them meanwhile
            self._may_be_reused(lease)
        self.forks.pop(fork, None)

    def _retire_leased(self):
        for number in [number for number, slot in list(self._theirs.items()) if slot.is_leased]:
            self._theirs.pop(number, None)

    def _may_be_reused(self, lease):
        """Whether the slot of a dead lease may be lent again. If a fork has copied the lease, the slot is forgotten."""
        for earlier in list(self.forks.values()):
            if not any(lease is other for other in earlier):
                self._theirs.pop(lease.number, None)
        return lease.number in self._theirs

    def close(self):
        """Stop lending and leasing. Leased memory stays for as long as any view of it."""
        self._handover.close()
        close_all(self._making_fds)
        self._theirs, self._slots, self._pool, self._given_up = {}, {}, [], []
