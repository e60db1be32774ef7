"""A slot: shared memory for one array at a time, the leases by which arrays own it, and the descriptors that name it.

Knows memory and weak references. Never knows which side may write into a slot, or when: ``arena.py`` does. Python 3.6
and up; runs on both sides.
"""

import weakref

import numpy as np

from gym_service.protocol.values import BadValue

try:
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

# A frame's descriptor: LENT, flags, the slot's number, a size. Without a flag: the receiver leases the slot.
RETURNED, RETIRED, OFFERED = 1 << 62, 1 << 61, 1 << 60
ANNOUNCED = RETURNED | OFFERED
NUMBER_SHIFT, NUMBER_BITS, SIZE_BITS = 40, 20, 40
MAX_NUMBER, SIZE_MASK = (1 << NUMBER_BITS) - 1, (1 << SIZE_BITS) - 1
PAGE_BYTES = 4096


def capacity_for(size_bytes):
    """The size of the slot for an array: the array's, rounded up to whole pages and by at most an eighth."""
    step = max(PAGE_BYTES, 1 << max(0, size_bytes.bit_length() - 4))
    return -(-size_bytes // step) * step


class Slot:
    """One slot: its own memory, mapped here, and its state."""

    def __init__(self, memory, number):
        self._memory = memory
        self._address = memory.address
        self._lease_class = None  # for the size that was leased first, which is nearly always the size
        self._lease = None  # a weak reference
        self._reference_class = None
        self.size_bytes = memory.size_bytes
        self.number = number
        self.is_out = False  # whether the slot holds a lent array (lent by whichever side owns the slot)
        self.told_in = None  # the call whose frame announced it; None: not announced yet, or given up
        self.used_in = 0  # the last call whose frame lent it
        self.bytes = (ctypes.c_ubyte * self.size_bytes).from_address(self._address)

    def write(self, value):
        """Copy an array into the slot in C order, whatever its own memory order."""
        np.copyto(np.ndarray(value.shape, value.dtype, self.bytes), value)

    def lease(self, size_bytes):
        """The slot's first bytes, as memory for an array; ``lend_to`` then records the lease in the slot."""
        if self._lease_class is None:
            self._lease_class = _lease_class(size_bytes)
        if self._lease_class._length_ == size_bytes:
            buffer = lease = self._lease_class.from_address(self._address)
        else:
            lease = _lease_class(self.size_bytes).from_address(self._address)
            buffer = memoryview(lease)[:size_bytes]
        lease.slot = self  # keeps the slot and its memory alive
        return buffer

    def lend_to(self, lease, note_death):
        """Record a lease; call ``note_death`` when it dies. Raises BadValue if the slot is leased already."""
        if self._lease is None or self._lease() is not lease:
            if self.is_out:
                raise BadValue("slot %d was lent twice" % self.number)
            if self._reference_class is None:
                # Of weak references that still know the slot's number when the lease is dead.
                self._reference_class = type("LeaseReference", (weakref.ref,), {"number": self.number, "__slots__": ()})
            # In one statement: after an interrupt no second reference is left that would note the death as well.
            self._lease = self._reference_class(lease, note_death)
        self.is_out = True

    @property
    def is_leased(self):
        """Whether a lease of the slot is alive."""
        return self._lease is not None and self._lease() is not None


class _Gone:
    """In the place of a slot of an arena that another thread has closed meanwhile, or of one that is forgotten."""

    bytes, is_out, told_in = b"", True, None

    def __setattr__(self, name, value):
        """Ignore it."""


GONE = _Gone()
_lease_classes = {}  # type: dict


def _lease_class(size_bytes):
    """The class of leases of a size. An array over a lease keeps it alive, and so does every view of that array."""
    cls = _lease_classes.get(size_bytes)
    if cls is None:
        cls = type("Lease", (ctypes.c_ubyte * size_bytes,), {})
        if len(_lease_classes) < 1000:  # real envs use few sizes; a hostile peer could send any number
            _lease_classes[size_bytes] = cls
    return cls
