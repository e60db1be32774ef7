"""Bytes -> values: the mirror of the encoder. It reads bytes that nobody has authenticated.

Knows the tags of the wire. Never knows a space, an env or a socket, and never unpickles: a tag per value, and a
table of the tags that exist. Each length is checked against what is there before anything is made of it.
Python 3.6 and up; runs on both sides.
"""

import struct
import sys

import numpy as np

from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import (
    GRAPH_FIELDS,
    MAX_DEPTH,
    MAX_DIMENSIONS,
    BadValue,
    Opaque,
    dtype_from,
    element_count,
)

_count = struct.Struct("<I")
_int64 = struct.Struct("<q")
_float64 = struct.Struct("<d")
_complex = struct.Struct("<dd")


class ValueDecoder:
    """Gives a message's values back, in order.

    Every array is new memory of its own, writeable, C-ordered: a small one is copied out of the head, a large one
    *is* its buffer. ``graph`` builds a GraphInstance from its three parts; without it a graph is a tuple.
    """

    def __init__(self, head, buffers=(), graph=None, at=0):
        self._head = head
        self._at = at
        self._buffers = list(reversed(buffers))
        self._graph = graph

    def read(self):
        """The next value. Raises BadValue where the bytes are none."""
        try:
            return self._read(0)
        # All that hostile bytes were seen to raise below; each is checked before anything large is allocated.
        except (struct.error, IndexError, KeyError, ValueError, TypeError, OverflowError) as error:
            if is_foreign(error):
                raise
            raise BadValue("not a value at byte %d of %d: %s" % (self._at, len(self._head), error)) from error

    def has_more(self):
        """Whether bytes are left, of another value."""
        return self._at < len(self._head)

    def read_rest(self):
        """All values that are left, in a list. Raises BadValue unless every byte and every buffer is used."""
        values = []
        while self._at < len(self._head):
            values.append(self.read())
        self.expect_end()
        return values

    def expect_end(self):
        """Raise BadValue unless every byte and every buffer has been used."""
        if self._at != len(self._head) or self._buffers:
            raise BadValue("%d bytes and %d buffers are left over" % (len(self._head) - self._at, len(self._buffers)))

    def _read(self, depth):
        tag = self._head[self._at]
        self._at += 1
        read = _READ.get(tag)
        if read is None:
            raise ValueError("unknown tag %d" % tag)
        return read(self, depth)

    def _bytes(self, size):
        start = self._at
        if size > len(self._head) - start:
            raise ValueError("%d bytes announced, %d left" % (size, len(self._head) - start))
        self._at = start + size
        return bytes(self._head[start : self._at])

    def _unpack(self, form):
        values = form.unpack_from(self._head, self._at)
        self._at += form.size
        return values

    def _counted(self, depth=0):
        return self._bytes(self._unpack(_count)[0])

    def _read_int(self, depth):
        return self._unpack(_int64)[0]

    def _read_big_int(self, depth):
        return int.from_bytes(self._counted(), "little", signed=True)

    def _read_float(self, depth):
        return self._unpack(_float64)[0]

    def _read_complex(self, depth):
        return complex(*self._unpack(_complex))

    def _read_str(self, depth):
        return self._counted().decode("utf-8", "surrogatepass")

    def _read_numpy_str(self, depth):
        return np.str_(self._read_str(depth))

    def _read_numpy_bytes(self, depth):
        return np.bytes_(self._counted())

    def _read_opaque(self, depth):
        return Opaque(self._text(), self._text())

    def _text(self):
        """A str with its tag, where nothing else may stand: another Opaque, say, would nest without a bound."""
        if self._head[self._at] != ord("s"):
            raise ValueError("a text was due")
        self._at += 1
        return self._read_str(0)

    def _items(self, depth):
        count = self._unpack(_count)[0]
        if depth >= MAX_DEPTH:
            raise ValueError("nested deeper than %d levels" % MAX_DEPTH)
        if count > len(self._head) - self._at:  # an item is one byte at least
            raise ValueError("%d items announced, %d bytes left" % (count, len(self._head) - self._at))
        return [self._read(depth + 1) for _ in range(count)]

    def _read_tuple(self, depth):
        return tuple(self._items(depth))

    def _read_set(self, depth):
        return set(self._items(depth))

    def _read_frozenset(self, depth):
        return frozenset(self._items(depth))

    def _read_graph(self, depth):
        items = self._items(depth)
        if len(items) != len(GRAPH_FIELDS):
            raise ValueError("a graph has three parts, not %d" % len(items))
        return self._graph(*items) if self._graph else tuple(items)

    def _read_dict(self, depth):
        count = self._unpack(_count)[0]
        if depth >= MAX_DEPTH:
            raise ValueError("nested deeper than %d levels" % MAX_DEPTH)
        result = {}
        for _ in range(count):
            key = self._read(depth + 1)
            result[key] = self._read(depth + 1)
        return result

    def _dtype(self):
        text = self._counted().decode("ascii")
        dtype = dtype_from(text)
        if dtype is None:
            raise ValueError("dtype %r is not allowed" % text)
        return dtype

    def _shape(self):
        dimensions = self._head[self._at]
        if dimensions > MAX_DIMENSIONS:
            raise ValueError("%d dimensions" % dimensions)
        self._at += 1
        shape = struct.unpack_from("<%dQ" % dimensions, self._head, self._at)
        self._at += 8 * dimensions
        return shape

    def _read_scalar(self, depth):
        dtype = self._dtype()
        if dtype.kind in "SU":  # these have tags of their own
            raise ValueError("a scalar of dtype %s" % dtype)
        return np.frombuffer(self._bytes(dtype.itemsize), dtype)[0]

    def _read_array(self, depth):
        dtype, shape = self._dtype(), self._shape()
        size = element_count(shape) * dtype.itemsize
        if size == 0:
            # Not np.empty: it allocates one element even where there is none, and one "<U99999999" is 400 MB.
            return np.ndarray(shape, dtype, bytearray())
        if size > len(self._head) - self._at:
            raise ValueError("an array of %d bytes announced, %d left" % (size, len(self._head) - self._at))
        start, self._at = self._at, self._at + size
        return _readable(np.ndarray(shape, dtype, self._head, start).copy())

    def _read_large_array(self, depth):
        dtype, shape = self._dtype(), self._shape()
        if not self._buffers:
            raise ValueError("an array without its buffer")
        buffer = self._buffers.pop()
        if element_count(shape) * dtype.itemsize != len(buffer):
            raise ValueError("an array of %s %s in a buffer of %d bytes" % (shape, dtype, len(buffer)))
        return _readable(np.ndarray(shape, dtype, buffer))

    def _read_object_array(self, depth):
        shape = self._shape()
        count = element_count(shape)
        if depth >= MAX_DEPTH or count > len(self._head) - self._at:
            raise ValueError("an object array of %d elements in %d bytes" % (count, len(self._head) - self._at))
        # First the items, then their memory: nested arrays that each announce the rest of the head would else
        # allocate it a hundred times over.
        items = [self._read(depth + 1) for _ in range(count)]
        flat = np.empty(count, object)
        for index, item in enumerate(items):
            flat[index] = item
        return flat.reshape(shape)


def _readable(array):
    """The array, unless it holds text that numpy could not read: it raises SystemError when an element is looked at."""
    if array.dtype.kind == "U" and array.reshape(-1).view(array.dtype.str[0] + "u4").max() > sys.maxunicode:
        raise ValueError("an array of texts with characters that do not exist")
    return array


_READ = {
    ord("N"): lambda decoder, depth: None,
    ord("T"): lambda decoder, depth: True,
    ord("F"): lambda decoder, depth: False,
    ord("i"): ValueDecoder._read_int,
    ord("I"): ValueDecoder._read_big_int,
    ord("f"): ValueDecoder._read_float,
    ord("c"): ValueDecoder._read_complex,
    ord("s"): ValueDecoder._read_str,
    ord("u"): ValueDecoder._read_numpy_str,
    ord("b"): ValueDecoder._counted,
    ord("v"): ValueDecoder._read_numpy_bytes,
    ord("x"): ValueDecoder._read_opaque,
    ord("l"): ValueDecoder._items,
    ord("t"): ValueDecoder._read_tuple,
    ord("e"): ValueDecoder._read_set,
    ord("z"): ValueDecoder._read_frozenset,
    ord("g"): ValueDecoder._read_graph,
    ord("d"): ValueDecoder._read_dict,
    ord("n"): ValueDecoder._read_scalar,
    ord("a"): ValueDecoder._read_array,
    ord("A"): ValueDecoder._read_large_array,
    ord("o"): ValueDecoder._read_object_array,
}
