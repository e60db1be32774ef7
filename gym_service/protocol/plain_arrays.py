"""One small array in the general form, in a fraction of the time that the general way takes.

The bytes are always those of ``encoder.py``: this module asks it for one array of each dtype and shape, and keeps what
stands before the data. Python 3.6 and up; runs on both sides.

Both functions return None for anything else, and have changed nothing then.
"""

import numpy as np

from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import LARGE_BYTES, BadValue

# A user has one kind of action or two. Shapes that change all the time take the general way after so many.
MOST_KINDS = 64
PLAIN_CODES = "?bBhHiIlLqQefdFD"  # of dtypes whose bytes stand as they are in every form
# These alone, since a subclass may have a ``tobytes`` of its own.
_INTEGERS = {np.dtype(code).type for code in "bBhHiIlLqQ"}


class ArrayWriter:
    """Writes arrays, and numpy's integers."""

    def __init__(self):
        self._before = {}

    def write(self, value):
        """The value in the general form, as bytes."""
        cls = type(value)
        if cls is np.ndarray:
            kind = value.dtype, value.shape
        elif cls in _INTEGERS:
            kind = cls
        else:
            return None
        before = self._before.get(kind)
        if before is None:
            before = self._learn(kind, value)
        return before + value.tobytes() if before else None

    def _learn(self, kind, value):
        if len(self._before) >= MOST_KINDS or value.dtype.char not in PLAIN_CODES or not 0 < value.nbytes < LARGE_BYTES:
            return b""
        whole = bytes(Encoder().add(value).head)
        before = self._before[kind] = whole[: len(whole) - value.nbytes]
        return before


class ArrayReader:
    """Reads arrays from one place in a memory, whose content changes."""

    def __init__(self, memory, start):
        self._memory, self._start = memory, start
        self._before, self._size_bytes, self._copy = b"", -1, None  # those of the last array

    def read(self, size_bytes):
        """The array whose general form fills so many bytes there. The array is new."""
        if self._memory[self._start : self._start + 1] != b"a":
            return None
        end = self._start + len(self._before)
        if size_bytes != self._size_bytes or self._memory[self._start : end] != self._before:
            return self._read_another(size_bytes)
        return self._copy()

    def _read_another(self, size_bytes):
        decoder = ValueDecoder(bytes(self._memory[self._start : self._start + size_bytes]), (), None)
        try:
            array = decoder.read()
            decoder.expect_end()
        except BadValue:
            return None  # the general way says what is wrong with it
        if type(array) is np.ndarray and array.dtype.char in PLAIN_CODES and array.nbytes:
            before = size_bytes - array.nbytes
            self._copy = np.ndarray(array.shape, array.dtype, self._memory, self._start + before).copy
            self._before = bytes(self._memory[self._start : self._start + before])
            self._size_bytes = size_bytes
        return array if type(array) is np.ndarray else None
