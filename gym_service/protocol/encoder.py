"""Values -> bytes: the general path, for everything that fits no layout.

Knows the tags of the wire. Never knows a space, an env or a socket. Python 3.6 and up; runs on both sides. Each value
is a tag and its data; ``decoder.py`` is the counterpart, and one table of (value, bytes) tests both.
"""

import struct

import numpy as np

from gym_service.protocol import array_likes, enum_classes, library_types, named_tuples
from gym_service.protocol.class_encoding import ClassEncoder
from gym_service.protocol.interrupts import is_from_handler
from gym_service.protocol.library_types import LibraryEncoder
from gym_service.protocol.values import (
    LARGE_BYTES,
    MAX_DEPTH,
    MAX_DIMENSIONS,
    CannotEncode,
    Opaque,
    bounded_repr,
    dtype_text,
    is_graph,
    is_space,
    plain_name,
    type_name,
)

_count = struct.Struct("<I")
_int64 = struct.Struct("<q")
_float64 = struct.Struct("<d")
_complex = struct.Struct("<dd")


class _KeyReplaced(Exception):
    """A key has become an Opaque: the dict or set that contains it must become one instead."""


class Packed:
    """The result of packing by a layout: ``head`` (bytearray) and ``buffers`` (large arrays, not copied).

    Send the arrays before they change.
    """

    replaced = by_array_alone = ()  # see Encoder
    largest = (0, "$")

    def __init__(self):
        self.head = bytearray()
        self.buffers = []
        self.offers = ()  # shared memory for the answer; see arena.py
        self.leases = ()  # leases of the offered memory: no other call gets it before the answer has arrived

    @property
    def size_bytes(self):
        """The size of the message, without headers."""
        return len(self.head) + sum([array.nbytes for array in self.buffers]) if self.buffers else len(self.head)


class Encoder(ClassEncoder, LibraryEncoder, array_likes.ArrayEncoder, Packed):
    """Collects one message's values. With ``copies``, it copies large arrays when they are added."""

    def __init__(self, copies=False):
        super().__init__()
        self._copies = copies
        self.replaced = []  # (path, type name) of each value that became an Opaque
        self.by_array_alone = []  # the names of classes that crossed only by their __array__
        self.largest = (0, "$")  # (size, path) of the largest array, text or run of small values: for the bound's error
        self._path = []
        self._inside = []  # the ids of the containers on the path
        self._key_depth = 0  # above 0 inside a key of a dict or an item of a set
        self._opaque = False

    def add(self, value, root="$", opaque=False):
        """Append one value. With ``opaque``, a value that cannot cross becomes an ``Opaque``; else CannotEncode."""
        self._path[:] = [root]
        del self._inside[:]
        self._key_depth = 0
        self._opaque = opaque
        before = len(self.head)
        self._put(value)
        size = len(self.head) - before
        if size > 2 * self.largest[0]:  # many small values: no single one is the cause
            self.largest = (size, root)
        return self

    def extend(self, other):
        """Append everything that another encoder has collected."""
        self.head += other.head
        self.buffers += other.buffers
        self.replaced += other.replaced
        self.by_array_alone += other.by_array_alone
        self.largest = max(self.largest, other.largest)

    def _put(self, value):
        put = _PUT.get(type(value))
        if put is not None:
            put(self, value)
        elif array_likes.is_known_array_like(type(value)):
            self._put_array_like(value)
        else:
            self._put_foreign(value)

    def _put_foreign(self, value):
        """Append a value of an unknown class: any of its methods may raise."""
        state = self._state()
        try:
            _put_for_subclass(value)(self, value)
        except (CannotEncode, _KeyReplaced):
            raise
        except Exception as error:
            if is_from_handler(error):
                raise
            self._return_to(state)
            self._refuse(value, "a method of its class raised %s" % type_name(error))

    def _state(self):
        lists = self.head, self.buffers, self._path, self._inside, self.replaced
        return [(one, len(one)) for one in lists], self._key_depth

    def _return_to(self, state):
        """Remove everything that was appended since ``_state`` returned this state."""
        lengths, self._key_depth = state
        for one, length in lengths:
            del one[length:]
        self._cut(len(self.head))

    def _put_hashable(self, value, seen):
        """Append a key of a dict or an item of a set.

        Refuses a value that would arrive as a type without a hash, or as a value that is in ``seen`` already: one of
        the two would be lost. ``seen`` is None if that cannot happen, because all types cross unchanged.
        """
        start, replaced = len(self.head), len(self.replaced)
        if self._references and not self._key_depth:
            self._references = []
        self._key_depth += 1
        self._put(value)
        self._key_depth -= 1
        if seen is not None:
            form = self._form_from(start)
            if form in seen:
                self._cut(start)
                self._refuse(value, "another one beside it would arrive as the same value")
            seen.add(form)
        if len(self.replaced) > replaced and len(self._inside) > 1:
            raise _KeyReplaced

    def _put_keyed(self, value, put):
        """Append a dict or a set. Inside another container it becomes an Opaque as a whole if one of its keys is one.

        Looking up a key compares it with others, and an Opaque refuses comparison.
        """
        state = self._state()
        try:
            put(value)
        except _KeyReplaced:
            self._return_to(state)
            self._refuse(value, "one of its keys or items has no form on the wire")

    def _is_key(self, value):
        """Whether a list, dict, set or array is inside a key, which must be hashable. If so, this refuses it."""
        if not self._key_depth:
            return False
        self._refuse(value, "it would arrive as a %s, which cannot be a key or an item of a set" % plain_name(value))
        return True

    def _refuse(self, value, reason):
        if not self._opaque:
            raise CannotEncode(self._path_text(), type_name(value), reason)
        self.replaced.append((self._path_text(), type_name(value)))
        self._put_opaque(Opaque(type_name(value), bounded_repr(value)))

    def _path_text(self):
        return self._path[0] + "".join("[%s]" % bounded_repr(part) for part in self._path[1:])

    def _put_constant(self, value):
        self.head += _CONSTANTS[value]

    def _put_int(self, value):
        if type(value) is not int:
            value = int.__pos__(value)  # the base's own value: a subclass may return another from its __int__
        if -(2**63) <= value < 2**63:
            self.head += b"i" + _int64.pack(value)
        else:
            self._put_bytes_as(b"I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))

    def _put_float(self, value):
        self.head += b"f" + _float64.pack(value)

    def _put_complex(self, value):
        self.head += b"c" + _complex.pack(complex.real.__get__(value), complex.imag.__get__(value))

    def _put_str(self, value):
        self._put_bytes_as(b"s", str.encode(value, "utf-8", "surrogatepass"))

    def _put_numpy_str(self, value):
        self._put_bytes_as(b"u", str.encode(value, "utf-8", "surrogatepass"))

    def _put_bytes(self, value):
        self._put_bytes_as(b"b", b"".join((value,)))  # the bytes themselves: a subclass may define another length

    def _put_numpy_bytes(self, value):
        self._put_bytes_as(b"v", b"".join((value,)))

    def _put_bytes_as(self, tag, data):
        if len(data) >= 2**32:
            self._refuse(data, "longer than a length on the wire can say (4 GiB)")
            return
        if len(data) >= LARGE_BYTES and len(data) > self.largest[0]:
            self.largest = (len(data), self._path_text())
        self.head += tag + _count.pack(len(data))
        self.head += data

    def _put_opaque(self, value):
        self.head += b"x"
        self._put_str(value.type_name)
        self._put_str(value.repr)

    def _put_list(self, value):
        if not self._is_key(value):
            self._put_items(b"l", value)

    def _put_tuple(self, value):
        self._put_items(b"t", value)

    def _put_set(self, value):
        if not self._is_key(value):
            self._put_keyed(value, self._put_set_items)

    def _put_frozenset(self, value):
        self._put_keyed(value, self._put_frozenset_items)

    def _put_set_items(self, value):
        self._put_set_as(b"e", value)

    def _put_frozenset_items(self, value):
        self._put_set_as(b"z", value)

    def _put_set_as(self, tag, value):
        if not self._enter(value):
            return
        items = list(value)
        seen = _set_for(items)
        self.head += tag + _count.pack(len(items))
        for index, item in enumerate(items):
            self._path[-1] = index
            self._put_hashable(item, seen)
        self._leave()

    def _put_graph(self, value):
        if not self._is_key(value):
            self._put_items(b"g", value)

    def _put_items(self, tag, items, definition=None):
        if not self._enter(items):
            return
        items = list(items)  # a subclass may define another length, and a simulator's thread may append
        self.head += tag
        if definition is not None:
            self._put_definition(definition)
        self.head += _count.pack(len(items))
        for index, item in enumerate(items):
            self._path[-1] = index
            self._put(item)
        self._leave()

    def _put_dict(self, value):
        if not self._is_key(value):
            self._put_keyed(value, self._put_dict_items)

    def _put_dict_items(self, value):
        if not self._enter(value):
            return
        items = list(value.items())
        seen = _set_for([key for key, _ in items])
        self.head += b"d" + _count.pack(len(items))
        for key, item in items:
            self._path[-1] = key
            self._put_hashable(key, seen)
            self._put(item)
        self._leave()

    def _enter(self, value):
        # By identity, at the first repetition: otherwise parents and children that refer to each other would be written
        # 2**MAX_DEPTH times before the depth limit stops it.
        if id(value) in self._inside:
            self._refuse(value, "it holds itself")
            return False
        if len(self._inside) >= MAX_DEPTH:
            self._refuse(value, "nested deeper than %d levels" % MAX_DEPTH)
            return False
        self._inside.append(id(value))
        self._path.append(None)
        return True

    def _leave(self):
        self._inside.pop()
        self._path.pop()

    def _put_scalar(self, value):
        dtype = dtype_text(value.dtype)
        if dtype is None:
            self._refuse(value, "numpy scalars of dtype %s have no form on the wire" % value.dtype)
            return
        self._put_bytes_as(b"n", dtype)
        self.head += np.generic.tobytes(value)

    def _put_array(self, value):
        if self._is_key(value):
            return
        if type(value) is not np.ndarray and isinstance(value, np.ma.MaskedArray):  # numpy 2.5 imports np.ma here
            self._refuse(value, "masked arrays would lose their mask; send .data and .mask")
            return
        given = value
        if type(value) is not np.ndarray:
            value = np.ndarray.view(value, np.ndarray)  # a subclass may redefine tobytes or shape
        if value.ndim > MAX_DIMENSIONS:
            self._refuse(given, "more than %d dimensions" % MAX_DIMENSIONS)
            return
        if value.dtype.kind == "O":
            self._put_object_array(value)
            return
        dtype = dtype_text(value.dtype)
        if dtype is None:
            self._put_array_of_other_dtype(value, given)
            return
        large = value.nbytes >= LARGE_BYTES
        self._put_bytes_as(b"A" if large else b"a", dtype)
        self._put_shape(value.shape)
        if large:
            self.buffers.append(np.array(value) if self._copies else value)
            if value.nbytes > self.largest[0]:
                self.largest = (value.nbytes, self._path_text())
        else:
            self.head += value.tobytes()

    def _put_object_array(self, value):
        if not self._enter(value):
            return
        self.head += b"o"
        self._put_shape(value.shape)
        for index, item in zip(np.ndindex(*value.shape), np.asarray(value).ravel()):
            self._path[-1] = index[0] if len(index) == 1 else index
            self._put(item)
        self._leave()

    def _put_shape(self, shape):
        self.head += struct.pack("<B%dQ" % len(shape), len(shape), *shape)


_CONSTANTS = {None: b"N", True: b"T", False: b"F"}
_NUMPY_SCALARS = {np.dtype(code).type for code in "?bBhHiIlLqQefdgFDGmM"}

_PUT = {
    type(None): Encoder._put_constant,
    bool: Encoder._put_constant,
    int: Encoder._put_int,
    float: Encoder._put_float,
    complex: Encoder._put_complex,
    str: Encoder._put_str,
    bytes: Encoder._put_bytes,
    list: Encoder._put_list,
    tuple: Encoder._put_tuple,
    dict: Encoder._put_dict,
    set: Encoder._put_set,
    frozenset: Encoder._put_frozenset,
    Opaque: Encoder._put_opaque,
    np.ndarray: Encoder._put_array,
    np.str_: Encoder._put_numpy_str,
    np.bytes_: Encoder._put_numpy_bytes,
}
_PUT.update((cls, Encoder._put_scalar) for cls in _NUMPY_SCALARS)
_PUT.update((cls, getattr(Encoder, name)) for cls, name in library_types.PUT.items())


def _set_for(keys):
    """The ``seen`` argument of ``_put_hashable``: a set if the class of a key crosses as another one, else None."""
    return set() if any(type(key) not in _PUT for key in keys) else None


def _put_for_subclass(value):
    """The method for the nearest base of a value's type. Uses only the type: a proxy's __class__ may lie or raise."""
    if enum_classes.is_member(value):
        return Encoder._put_member
    if enum_classes.is_class(value):
        return Encoder._put_enum_class
    if is_graph(value):
        return Encoder._put_graph
    if named_tuples.is_named_tuple(value):
        return Encoder._put_named_tuple
    for cls in type(value).__mro__:
        if cls in _PUT:
            return _PUT[cls]
        if library_types.is_rare(cls):
            return Encoder._put_library_value
    if is_space(value):
        return Encoder._put_space
    return Encoder._put_array_like if array_likes.is_array_like(type(value)) else Encoder._put_unknown
