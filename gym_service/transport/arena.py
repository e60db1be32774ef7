"""Large arrays through shared memory: slots, and the leases by which arrays own them.

Knows slots, who may write into which, and when. Never knows frames, spaces or envs. Python 3.6 and up; runs on both
sides, each of which lends to the other.

A sender copies an array into a free *slot* of its own and names the slot in the frame. The receiver makes a *lease*
of it: memory for an array that lies where it was written. When the last view of that array dies, so does the lease,
and the slot's number goes back with the next frame. Until then nobody writes into the slot, however long that is, so
what a user keeps does not change; and when too many slots are out, arrays travel inline again. Each slot is a memory
file of its own, mapped on both sides and then closed: it needs no descriptor and no name, and what is leased outlives
the connection, and the other process too.

The frame that names a slot is sent after the slot was written, and read before the slot is: a system call on each side
orders the two. Nothing here waits for memory to change.

Forks. A child of fork() sees the same memory as its parent, who would go on writing into slots once it has given them
back. So at a fork every slot that is out is *retired*: it is never written into again, and both sides forget it.
"""

import os
import struct
import weakref

import numpy as np

from gym_service.protocol.frames import LENT
from gym_service.protocol.values import BadValue
from gym_service.transport import fd_passing, shared_memory

try:
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

# Below this an array costs about as much through the stream as by the slot. An estimate: the edge was not measured.
LEAST_BYTES = 16384
# What one side lends at most, in all and of one size; beyond that arrays travel inline. A new slot costs as much as ten
# copies of a small frame, so it is for who lets go of frames again, be it after a stack of sixteen: who keeps them all
# is better off with copies.
MOST_BYTES = 256 * 2**20
MOST_OF_A_SIZE = 32
# How many slot numbers go back in one frame at most; the rest go with the next.
RETURNS = 256
# A frame's descriptor: LENT, the slot's number, its size. With RETURNED: the receiver's own slot, which is free again.
# With OFFERED: the sender's, into which the receiver may write its answer. RETIRED beside one of them: forget this
# slot.
RETURNED, RETIRED, OFFERED = 1 << 62, 1 << 61, 1 << 60
NUMBER_SHIFT, NUMBER_BITS, SIZE_BITS = 40, 20, 40
_NUMBER, _SIZE = (1 << NUMBER_BITS) - 1, (1 << SIZE_BITS) - 1
_ANNOUNCEMENT = struct.Struct("<QQ")  # slot number, size in bytes; beside it the descriptor

_holders = weakref.WeakSet()  # type: weakref.WeakSet


def number_in(descriptor):
    """The number of the slot that a descriptor speaks of."""
    return descriptor >> NUMBER_SHIFT & _NUMBER


def over_socket(sock):
    """An Arena whose memory is handed over through a connected Unix socket, which it owns; None where it cannot be."""
    if ctypes is None or not fd_passing.IS_SUPPORTED:
        sock.close()
        return None
    return Arena(sock)


class Arena:
    """One side's end: it lends to the other, and leases from it."""

    def __init__(self, sock):
        sock.setblocking(False)
        self._socket = sock
        self._lent = []  # every slot of ours that was ever made, by number; None once it is retired
        self._free = {}  # by size, the numbers of those that are free, the last used last
        self._counts = {}  # by size, how many there are, free or not
        self._lent_bytes = 0
        self._leasable = {}  # their slots, by number
        self._to_return = []  # descriptors: what leases that died have left
        self._made = 0  # how many slots of theirs have been announced
        retire_at_forks(self)

    # -- what is lent ----------------------------------------------------------------------------------------------

    def descriptors(self, buffers):
        """The buffers of a frame, with descriptors in place of those that lie in a slot, and of what is to be returned.

        Blocks for a copy of each large array, and for the system calls of a new slot where none is free.
        """
        descriptors = [self._lend(buffer) if buffer.nbytes >= LEAST_BYTES else buffer for buffer in buffers]
        returns = self._to_return
        while returns and len(descriptors) < RETURNS:
            descriptors.append(returns.pop())
        return descriptors

    @property
    def has_returns(self):
        """Whether there is anything to return."""
        return self._to_return

    def take_back(self, descriptor):
        """A slot that the other side has returned. Raises BadValue where it holds no such slot."""
        number = number_in(descriptor)
        slot = self._lent[number] if number < len(self._lent) else None
        if slot is None or not slot.is_out:
            raise BadValue("slot %d was returned and is not out" % number)
        slot.is_out = False
        if descriptor & RETIRED:
            self._lent[number] = None
            self._counts[slot.size_bytes] -= 1
            self._lent_bytes -= slot.size_bytes
        else:
            self._free[slot.size_bytes].append(number)

    def _lend(self, value):
        """Copy an array into a free slot and name it; the array itself where there is no slot to be had."""
        size_bytes = value.nbytes
        free = self._free.get(size_bytes)
        number = free.pop() if free else self._new_slot(size_bytes)
        if number is None:
            return value
        slot = self._lent[number]
        slot.write(value)
        slot.is_out = True
        return LENT | number << NUMBER_SHIFT | size_bytes

    def _new_slot(self, size_bytes):
        """The number of a new slot that the other side has been told of; None where there may be, or can be, none."""
        number, count = len(self._lent), self._counts.get(size_bytes, 0)
        if count >= MOST_OF_A_SIZE or size_bytes + self._lent_bytes > MOST_BYTES or number > _NUMBER:
            return None
        try:
            fd = shared_memory.create(size_bytes)
            try:
                self.announce(fd, shared_memory.Memory(fd, size_bytes))
            finally:
                os.close(fd)
        except OSError:  # no memory, no descriptor, or nobody there: inline it goes
            return None
        self._free.setdefault(size_bytes, [])
        self._counts[size_bytes] = count + 1
        self._lent_bytes += size_bytes
        return number

    def announce(self, fd, mapped):
        """Hand memory over to the other side; the number by which frames name it. Raises OSError."""
        number = len(self._lent)
        fd_passing.send(self._socket, _ANNOUNCEMENT.pack(number, mapped.size_bytes), fd)
        self._lent.append(Slot(mapped, number))
        return number

    def offer(self, number):
        """A descriptor that lets the other side write its answer into memory that was announced."""
        return LENT | OFFERED | number << NUMBER_SHIFT | self._lent[number].size_bytes

    def withdraw(self, number):
        """A descriptor that has the other side forget memory that was announced; it is forgotten here."""
        descriptor = self.offer(number) | RETIRED
        self._lent[number] = None
        return descriptor

    # -- what is leased --------------------------------------------------------------------------------------------

    def receive(self, descriptor, frame):
        """Do what a descriptor of a frame says. Raises BadValue where it means nothing."""
        if descriptor & RETURNED:
            self.take_back(descriptor)
        elif descriptor & OFFERED:
            offer = self._offered(descriptor)
            frame.offers = frame.offers if offer is None else (*frame.offers, offer)
        else:
            frame.buffers.append(self.lease(descriptor))

    def lease(self, descriptor):
        """The memory of a slot that a frame names: a buffer of as many bytes, which owns the slot while it lives.

        Raises BadValue where the other side has announced no such slot, or lends it twice.
        """
        lease = self._announced_slot(descriptor).lease()
        return lease if CAN_RETIRE else bytearray(lease)

    def _offered(self, descriptor):
        """The bytes of a slot, to be written into before the answer; None for one that is to be forgotten."""
        slot = self._announced_slot(descriptor)
        if descriptor & RETIRED:
            del self._leasable[slot.number]
            return None
        return slot.bytes

    def _announced_slot(self, descriptor):
        number, size_bytes = number_in(descriptor), descriptor & _SIZE
        while number >= self._made:
            self._receive_announcement()
        slot = self._leasable.get(number)
        if slot is None or slot.is_out or slot.size_bytes != size_bytes:
            raise BadValue("slot %d of %d bytes was named and is not to be had" % (number, size_bytes))
        return slot

    def _receive_announcement(self):
        """Take the next slot that was announced. It was, before the frame that names it was sent: nothing blocks."""
        try:
            data, fds = fd_passing.receive(self._socket, _ANNOUNCEMENT.size)
            try:
                self._leasable[self._made] = self._announced(data, fds)
            finally:
                for fd in fds:
                    os.close(fd)
        except OSError as error:
            raise BadValue("the shared memory of slot %d cannot be had: %s" % (self._made, error)) from error
        self._made += 1

    def _announced(self, data, fds):
        if len(data) != _ANNOUNCEMENT.size or len(fds) != 1:
            # With too many files open the kernel drops the descriptor.
            raise OSError("its announcement came with %d descriptors; is the limit reached (ulimit -n)?" % len(fds))
        number, size_bytes = _ANNOUNCEMENT.unpack(data)
        if number != self._made or not 0 < size_bytes <= MOST_BYTES:
            raise OSError("slot %d of %d bytes was announced" % (number, size_bytes))
        shared_memory.check(fds[0], size_bytes)
        return Slot(shared_memory.Memory(fds[0], size_bytes), number, self._to_return)

    # -- ends ------------------------------------------------------------------------------------------------------

    def retire(self):
        """Forget every slot that is leased: a fork is about to copy the leases, and they must see no other frame."""
        for number, slot in list(self._leasable.items()):
            if slot.is_out:
                slot.flags = RETIRED
                del self._leasable[number]

    def close(self):
        """Lend and lease no more. What is leased stays, for as long as anything can see it."""
        self._socket.close()
        self._leasable.clear()
        self._lent = []
        self._free = {}


class Slot:
    """One place: memory of its own, mapped here, and whether an array is in it."""

    def __init__(self, mapped, number, returns=None):
        self._memory = mapped
        self.address = mapped.address
        self.size_bytes = mapped.size_bytes
        self.number = number
        self.is_out = False
        self.flags = 0
        self._returns = returns
        self.bytes = (ctypes.c_ubyte * self.size_bytes).from_address(self.address)
        self._lease_class = _lease_class(mapped.size_bytes)

    def write(self, value):
        """Copy an array into it, in C order, whatever order it lies in."""
        np.copyto(np.ndarray(value.shape, value.dtype, self.bytes), value)

    def lease(self):
        """Its memory, for an array to own it."""
        self.is_out = True
        lease = self._lease_class.from_address(self.address)
        lease.slot = self
        return lease

    def release(self):
        """Nothing can see it any more."""
        self.is_out = False
        self._returns.append(LENT | RETURNED | self.flags | self.number << NUMBER_SHIFT)


_lease_classes = {}  # type: dict


def _lease_class(size_bytes):
    """The class of leases of a size. An array over one keeps it alive, and so does every view of that array."""
    cls = _lease_classes.get(size_bytes)
    if cls is None:
        cls = type("Lease", (ctypes.c_ubyte * size_bytes,), {"__del__": _end_lease})
        if len(_lease_classes) < 1000:  # sizes are few, unless somebody makes them up
            _lease_classes[size_bytes] = cls
    return cls


def _end_lease(lease):
    lease.slot.release()


def _retire_all():
    for holder in list(_holders):
        holder.retire()


def retire_at_forks(holder):
    """Have ``holder.retire()`` called before every fork of this process, for as long as it lives."""
    _holders.add(holder)


# New in Python 3.7. Without it arrays are copied out of their slots.
CAN_RETIRE = hasattr(os, "register_at_fork")
if CAN_RETIRE:
    os.register_at_fork(before=_retire_all)  # novermin
