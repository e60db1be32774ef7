"""Bytes -> values: the counterpart of the encoder. It reads bytes from peers that may be hostile.

Knows the tags of the wire. Never knows a space, an env or a socket, and never unpickles: each value has a tag, and a
table has all tags that exist. Each length is checked against the available bytes before anything is made from it.
Python 3.6 and up; runs on both sides.
"""

import struct
import sys
from collections import deque

import numpy as np

from gym_service.protocol import class_forms, enum_classes, library_types, space_spec
from gym_service.protocol.array_likes import BFLOAT16, FRAMEWORK, float32_of
from gym_service.protocol.enum_classes import ClassRefused
from gym_service.protocol.frames import BOUND_BYTES
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import (
    GRAPH_FIELDS,
    MAX_DEPTH,
    MAX_DIMENSIONS,
    BadValue,
    Opaque,
    bounded_repr,
    dtype_from,
    element_count,
)

_count = struct.Struct("<I")
_int64 = struct.Struct("<q")
_float64 = struct.Struct("<d")
_complex = struct.Struct("<dd")
# The same depth to which class_encoding.py nests definitions.
MAX_NESTING = 2
# The limit for one message's classes, in the cost units of class_forms.py: each takes more memory than its bytes.
MAX_CLASS_COST = 2 * 10**6


class ValueDecoder:
    """Returns a message's values, in order.

    Every array is new, writeable memory in C order: a small one is copied out of the head, a large one *is* its buffer.
    ``graph`` builds a GraphInstance from its three parts; without it a graph is a tuple. ``arrays`` converts each array
    of another library (``array_likes.py``), given with its label and flags; without it they are numpy's.
    """

    # Makes a space from its plain data, with this process's library of spaces; without it a space stays plain data.
    # ``client/spaces.py`` and ``server/loop.py`` set it for all decoders.
    space_from = None  # type: object
    _space_bytes = 0  # the claimed size of the spaces in this message
    _nesting = 0  # the number of definitions around this one
    _class_cost = 0

    def __init__(self, head, buffers=(), graph=None, at=0, arrays=None):
        self._head = head
        self._at = at
        self._buffers = list(reversed(buffers))
        self._graph = graph
        self._arrays = arrays

    def read(self):
        """The next value. Raises BadValue for malformed bytes."""
        try:
            return self._read(0)
        # All exceptions that hostile bytes were seen to raise below; nothing large is allocated without a check.
        except (struct.error, IndexError, KeyError, ValueError, TypeError, OverflowError) as error:
            if is_foreign(error):
                raise
            raise BadValue("not a value at byte %d of %d: %s" % (self._at, len(self._head), error)) from error

    def has_more(self):
        """Whether bytes of another value remain."""
        return self._at < len(self._head)

    def read_rest(self):
        """All remaining values, in a list. Raises BadValue unless every byte and every buffer is used."""
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
        """A str with its tag. No other value may be here: another Opaque, for example, would nest without a bound."""
        if self._head[self._at] != ord("s"):
            raise ValueError("a text was due")
        self._at += 1
        return self._read_str(0)

    def _items(self, depth):
        count = self._unpack(_count)[0]
        if depth >= MAX_DEPTH:
            raise ValueError("nested deeper than %d levels" % MAX_DEPTH)
        if count > len(self._head) - self._at:  # an item takes at least one byte
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

    def _class(self):
        """The class whose definition is here, or as far back as the bytes say. Raises ClassRefused."""
        here = self._at
        distance = self._unpack(_count)[0]
        if not distance:
            return self._class_of(self._counted())
        after, self._at = self._at, here - distance
        if self._at < 0 or self._unpack(_count)[0]:
            raise ValueError("no definition of a class %d bytes back" % distance)
        definition = self._counted()
        self._at = after
        return self._class_of(definition)

    def _class_of(self, definition):
        cls, cost = class_forms.class_from(definition, self._read_definition, restored)
        self._class_cost += cost
        return cls

    def _read_definition(self, definition):
        if self._nesting >= MAX_NESTING or self._class_cost > MAX_CLASS_COST:
            raise ValueError("too many classes")
        inner = ValueDecoder(definition)
        inner._nesting, inner._class_cost = self._nesting + 1, self._class_cost
        data = inner._read(0)
        if inner.has_more():
            raise ValueError("a definition with more behind it")
        self._class_cost = inner._class_cost
        return data

    def _read_member(self, depth):
        try:
            cls = self._class()
        except ClassRefused as refused:
            return Opaque(str(refused), self._text())
        return enum_classes.member_of(cls, self._text())

    def _read_combination(self, depth):
        try:
            cls = self._class()
        except ClassRefused as refused:
            cls, class_name = None, str(refused)
        name = self._text_or_none()
        if self._head[self._at] not in b"iI":
            raise ValueError("an int was due")
        value = self._read(depth)
        if cls is None:
            return Opaque(class_name, "%s, %s" % (name, bounded_repr(value)))
        return enum_classes.combination_of(cls, name, value)

    def _text_or_none(self):
        if self._head[self._at] != ord("N"):
            return self._text()
        self._at += 1
        return None

    def _read_enum_class(self, depth):
        try:
            cls = self._class()
        except ClassRefused as refused:
            return Opaque("enum.EnumMeta", str(refused))
        if not enum_classes.is_class(cls):
            raise ValueError("not an Enum class")
        return cls

    def _read_named_tuple(self, depth):
        try:
            cls = self._class()
        except ClassRefused as refused:
            return Opaque(str(refused), bounded_repr(tuple(self._items(depth))))
        items = self._items(depth)
        if not issubclass(cls, tuple) or len(items) != len(cls._fields):
            raise ValueError("%d items of %s" % (len(items), cls.__name__))
        return tuple.__new__(cls, items)  # bypasses the constructor of a user's own class

    def _read_deque(self, depth):
        maxlen = self._unpack(_int64)[0]
        return deque(self._items(depth), None if maxlen == -1 else maxlen)

    def _read_bytearray(self, depth):
        return bytearray(self._counted())

    def _read_range(self, depth):
        return library_types.made_range(self._items(depth))

    def _read_slice(self, depth):
        return library_types.made_slice(self._items(depth))

    def _read_space(self, depth):
        if self._head[self._at] != ord("d") or self._nesting:
            raise ValueError("not a space, or one in the definition of a class")
        data = self._read(depth + 1)
        self._space_bytes += space_spec.claimed_bytes(data)
        if data["kind"] not in space_spec.KINDS:
            raise ValueError("not a kind of space: %r" % (data["kind"],))
        if self._space_bytes > BOUND_BYTES:  # a few bytes can claim any shape
            raise ValueError("spaces of %d bytes" % self._space_bytes)
        return space_spec.built(self.space_from, data) if self.space_from else data

    def _read_library_value(self, depth):
        return library_types.made(self._items(depth))

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
        if dtype.kind in "SU":  # these have their own tags
            raise ValueError("a scalar of dtype %s" % dtype)
        return np.frombuffer(self._bytes(dtype.itemsize), dtype)[0]

    def _read_array(self, depth):
        dtype, shape = self._dtype(), self._shape()
        size = element_count(shape) * dtype.itemsize
        if size == 0:
            # Not np.empty: it allocates one element even for an empty array, and one "<U99999999" takes 400 MB.
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

    def _read_array_like(self, depth):
        flags, label = self._bytes(1)[0], self._text()
        if self._head[self._at] not in b"aA" or flags > FRAMEWORK | BFLOAT16:
            raise ValueError("an array of another library was due")
        array = self._read(depth)
        if flags & BFLOAT16 and array.dtype != np.uint16:
            raise ValueError("bfloat16 of dtype %s" % array.dtype)
        if self._arrays is not None:
            return self._arrays(array, label, flags)
        return float32_of(array) if flags & BFLOAT16 else array

    def _read_object_array(self, depth):
        shape = self._shape()
        count = element_count(shape)
        if depth >= MAX_DEPTH or count > len(self._head) - self._at:
            raise ValueError("an object array of %d elements in %d bytes" % (count, len(self._head) - self._at))
        # The items are read before their memory is allocated: otherwise nested arrays that each announce the rest of
        # the head would allocate it a hundred times.
        items = [self._read(depth + 1) for _ in range(count)]
        flat = np.empty(count, object)
        for index, item in enumerate(items):
            flat[index] = item
        return flat.reshape(shape)


def restored(definition, *member):
    """A class from its definition, or a member of it from a name and a value. Pickles of both call this."""
    cls = ValueDecoder(b"")._class_of(definition)
    if not member:
        return cls
    name, value = member
    return cls._member_map_[name] if name in cls._member_map_ else enum_classes.combination_of(cls, name, value)


enum_classes.use_restore(restored)


def _readable(array):
    """The array, unless it holds text that numpy cannot read: reading an element would raise SystemError."""
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
    ord("D"): ValueDecoder._read_array_like,
    ord("o"): ValueDecoder._read_object_array,
    ord("E"): ValueDecoder._read_member,
    ord("U"): ValueDecoder._read_combination,
    ord("C"): ValueDecoder._read_enum_class,
    ord("p"): ValueDecoder._read_named_tuple,
    ord("q"): ValueDecoder._read_deque,
    ord("y"): ValueDecoder._read_bytearray,
    ord("r"): ValueDecoder._read_range,
    ord("w"): ValueDecoder._read_slice,
    ord("S"): ValueDecoder._read_space,
    ord("k"): ValueDecoder._read_library_value,
}
