"""The digest of what an env returns: equal on both sides of a comparison exactly if the values are the same.

Runs on both sides of a comparison: where a trace is recorded, and by path beside a reference run in a target. So it
imports nothing from gym-service. Knows values; never knows an env, a file or a socket. Python 3.6 and up.

A value becomes *canonical bytes*: a tag, then what the tag needs, with every length included, so that different values
never have the same bytes. Two values are the same exactly if both arrive equal over the wire: strides do not count, an
OrderedDict counts as the type below it, a member of an Enum by the names of its class and itself and by its value, and
an object without a form on the wire by its type's name, like the ``Opaque`` that replaces it. docs/trace-format.md
has the table of the tags.

An array of FOLDED_BYTES or more enters as its dtype, its shape and a *fold*: its bytes as rows of FOLD_COLUMNS 64-bit
words, row i times an odd constant, summed column by column modulo 2**64; then the bytes that fill no row. A change
within one row always changes the fold; any other change misses it with a chance of 2**-64 for each column it touches.
SHA-256 over all bytes was rejected: for 640x480x3 it takes 580 us, the fold 55 us (one core of a 2.4 GHz EPYC). The
fold detects accidents. It does not resist an attacker who searches for two arrays with the same fold; it need not.
"""

import datetime
import decimal
import enum
import fractions
import hashlib
import operator
import pathlib
import struct
import uuid
import zlib
from collections import deque

import numpy as np

# Part of every digest, so that digests made by different rules are never equal.
RULES = b"gym-service digest 2"
# From this size on the fold is quicker than SHA-256 of the bytes, which takes 5 us for 8 KiB.
FOLDED_BYTES = 8192
FOLD_COLUMNS = 256
ROW_BYTES = 8 * FOLD_COLUMNS
# As on the wire (protocol/values.py), deeper nesting or more dimensions have no form.
MAX_DEPTH = 100
MAX_DIMENSIONS = 32
OPAQUE = "gym_service.protocol.values.Opaque"
# The bytes of the rolling digest in each call's summary: enough to find the call at which two runs diverge.
MARK_BYTES = 8
# A result whose canonical bytes are no longer than this is in the summary itself, in place of its checksum. Every
# number is, so a replay can say which reward was recorded.
KEPT_BYTES = 32

_count = struct.Struct("<I")
_int64 = struct.Struct("<q")
_float64 = struct.Struct("<d")
_complex = struct.Struct("<dd")


class RollingDigest:
    """A digest of all results so far, call by call, in order. ``value`` is its 32 bytes."""

    def __init__(self):
        self.value = hashlib.sha256(RULES).digest()

    def add(self, call, results):
        """Add the results of a call, and return their summary.

        Args:
            call: the name of the call, or of how it failed; ASCII bytes.
            results: its values, in order.

        Returns:
            The first MARK_BYTES of the digest, then an entry for each result: one byte with the length of its canonical
            bytes, and these bytes. If they are longer than KEPT_BYTES, a zero and their CRC-32.
        """
        parts = [canonical_bytes(value) for value in results]
        self.value = hashlib.sha256(b"".join([self.value, call, *parts])).digest()
        entries = [_LENGTHS[len(part)] + part if len(part) <= KEPT_BYTES else _check(part) for part in parts]
        return b"".join([self.value[:MARK_BYTES], *entries])


def canonical_bytes(value, inside=()):
    """The bytes that represent a value in digests. ``inside``: the ids of the containers around it."""
    write = _WRITE.get(type(value))
    if write is None:
        write = _write_for(type(value))
    return write(value, inside)


def _write_for(cls):
    """The function that writes values of a class missing in the table. Uses only the type: a proxy may lie or raise."""
    if issubclass(type(cls), enum.EnumMeta):
        return _member
    if issubclass(cls, enum.EnumMeta):
        return _enum_class
    if issubclass(cls, tuple) and type(getattr(cls, "_fields", None)) is tuple and cls.__name__ != "GraphInstance":
        return _named_tuple
    for base in cls.__mro__:
        if base in _WRITE:
            return _opaque if base in _TEXTS else _WRITE[base]
    is_space = any(base.__name__ == "Space" and _is_of_a_library(base) for base in cls.__mro__)
    return _space if is_space else _opaque


def _is_of_a_library(cls):
    return str(getattr(cls, "__module__", "")).split(".")[0] in ("gym", "gymnasium")


def type_name(cls):
    """The full name of a class, ``builtins`` left out."""
    return cls.__qualname__ if cls.__module__ == "builtins" else "%s.%s" % (cls.__module__, cls.__qualname__)


def _check(part):
    return b"\0" + _count.pack(zlib.crc32(part))


def _constant(value, inside):
    return _CONSTANTS[value]


def _int(value, inside):
    value = int.__pos__(value)
    if -(2**63) <= value < 2**63:
        return b"i" + _int64.pack(value)
    return _counted(b"I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _float(value, inside):
    return b"f" + _float64.pack(value)


def _complex_number(value, inside):
    return b"c" + _complex.pack(value.real, value.imag)


def _str(value, inside):
    return _counted(b"s", str.encode(value, "utf-8", "surrogatepass"))


def _bytes(value, inside):
    return _counted(b"b", bytes(value))


def _counted(tag, data):
    return tag + _count.pack(len(data)) + data


def _member(value, inside):
    """A member by its class, its name and its value; an object without a form if one of these has none."""
    cls = type(value)
    if cls not in _CLASSES:
        if len(_CLASSES) >= MAX_HEADS:
            _CLASSES.clear()
        values = [canonical_bytes(member._value_) for member in cls.__members__.values()]
        _CLASSES[cls] = cls._member_type_ in _MIXED and not any(one[:1] == b"x" for one in values)
    if not _CLASSES[cls]:
        return _opaque(value, inside)
    # The name of a combination of flags depends on the version of Python.
    name = value._name_ if value._name_ in cls.__members__ else ""
    return b"".join([b"E", _text(type_name(cls)), _text(name), canonical_bytes(value._value_, inside)])


def _enum_class(value, inside):
    members = list(value.__members__.items())
    if not members:
        return _opaque(value, inside)
    parts = [_text(name) + canonical_bytes(member, inside) for name, member in members]
    return b"".join([b"C", _count.pack(len(parts)), *parts])


def _named_tuple(value, inside):
    fields = type(value)._fields
    if len(fields) != len(value):
        return _tuple(value, inside)
    names = b"".join([_text(type_name(type(value))), *map(_text, fields)])
    return b"p" + names + _items(b"t", tuple(value), inside)


def _space(value, inside):
    """The gym or Gymnasium class that it derives from, whichever library: both sides share no more than that."""
    return b"S" + _text(next(base.__name__ for base in type(value).__mro__ if _is_of_a_library(base)))


def _text(text):
    return _counted(b"s", text.encode("utf-8", "surrogatepass"))


def _deque(value, inside):
    return b"q" + canonical_bytes(value.maxlen) + _items(b"l", value, inside)


def _bytearray(value, inside):
    return _counted(b"y", bytes(memoryview(value)))


def _three(value, inside):
    tag = b"r" if type(value) is range else b"w"
    return _items(tag, (value.start, value.stop, value.step), inside)


def _library_value(value, inside):
    """A text that contains the whole value."""
    zone = getattr(value, "tzinfo", None)
    numbers = (value.numerator, value.denominator) if type(value) is fractions.Fraction else ()
    is_large = any(operator.index(number).bit_length() > MAX_FRACTION_BITS for number in numbers)
    if not (zone is None or type(zone) is datetime.timezone) or is_large:
        return _opaque(value, inside)
    return b"".join([b"k", _text(type(value).__name__), _text(_TEXTS[type(value)](value)), _zone(zone)])


def _zone(zone):
    return b"" if zone is None else _text(_text_of_zone(zone))


def _text_of_zone(zone):
    return "%s %s" % (zone.utcoffset(None), zone.tzname(None))


def _opaque(value, inside):
    """A value without a form on the wire: both sides know only its type."""
    name = type_name(type(value))
    return _counted(b"x", (value.type_name if name == OPAQUE else name).encode("utf-8", "surrogatepass"))


def _list(value, inside):
    return _items(b"l", value, inside)


def _tuple(value, inside):
    return _items(b"t", value, inside)


def _items(tag, value, inside):
    if _has_no_form(value, inside):
        return _opaque(value, inside)
    inside = (*inside, id(value))
    parts = [canonical_bytes(item, inside) for item in value]
    return b"".join([tag, _count.pack(len(parts)), *parts])


def _set(value, inside):
    """Its items in the order of their bytes, since a set has no order."""
    parts = sorted(canonical_bytes(item) for item in value)
    return b"".join([b"e" if isinstance(value, set) else b"z", _count.pack(len(parts)), *parts])


def _dict(value, inside):
    if not value:
        return _EMPTY_DICT
    if _has_no_form(value, inside):
        return _opaque(value, inside)
    inside = (*inside, id(value))
    parts = [canonical_bytes(part, inside) for pair in value.items() for part in pair]
    return b"".join([b"d", _count.pack(len(parts) // 2), *parts])


def _has_no_form(value, inside):
    """A container that holds itself or is nested too deep ends here, as on the wire."""
    return id(value) in inside or len(inside) >= MAX_DEPTH


def _number(value, inside):
    """A numpy scalar of a type that has one dtype."""
    return _NUMBERS[type(value)] + value.tobytes()


def _scalar(value, inside):
    if value.dtype.kind in "OV":
        return _opaque(value, inside)
    return _counted(b"n", value.dtype.str.encode("ascii")) + _bits(value)


def _array(value, inside):
    dtype = value.dtype
    head = _HEADS.get((dtype, value.shape)) if type(value) is np.ndarray else None
    if head is None:
        if isinstance(value, np.ma.MaskedArray) or value.ndim > MAX_DIMENSIONS or dtype.kind == "V":
            return _opaque(value, inside)
        if dtype.kind == "O":
            return _object_array(value, inside)
        head = _counted(b"a" if value.nbytes < FOLDED_BYTES else b"A", dtype.str.encode("ascii")) + _shape(value.shape)
        if len(_HEADS) < MAX_HEADS:
            _HEADS[dtype, value.shape] = head
    return head + (_bits(value) if value.nbytes < FOLDED_BYTES else _fold(value))


def _object_array(value, inside):
    if _has_no_form(value, inside):
        return _opaque(value, inside)
    inside = (*inside, id(value))
    return b"".join([b"o", _shape(value.shape), *[canonical_bytes(item, inside) for item in np.asarray(value).ravel()]])


def _shape(shape):
    return struct.pack("<B%dQ" % len(shape), len(shape), *shape)


def _bits(value):
    """The bytes of an array or numpy scalar, without the padding of a long double, which a copy may not preserve."""
    if value.dtype not in _PADDED:
        return value.tobytes()
    raw = np.frombuffer(value.tobytes(), np.uint8).reshape(-1, np.longdouble().itemsize).copy()
    raw[:, 10:] = 0
    return raw.tobytes()


def _fold(array):
    if array.dtype in _PADDED:
        flat = np.frombuffer(_bits(array), np.uint8)
    else:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    count = len(flat) // ROW_BYTES
    end = count * ROW_BYTES
    rows = flat[:end].view("<u8").reshape(count, FOLD_COLUMNS)
    # einsum multiplies and adds modulo 2**64 without copying the rows, in every numpy; dot takes five times as long.
    sums = np.einsum("i,ij->j", _weights(count), rows)
    return sums.astype("<u8").tobytes() + flat[end:].tobytes()


def _weights(count):
    """The first odd constants: splitmix64 of 1, 2, 3, …, which any language computes in the same way."""
    global _known_weights
    if count > len(_known_weights):
        _known_weights = _make_weights(max(count, 2 * len(_known_weights)))
    return _known_weights[:count]


def _make_weights(count):
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


_known_weights = np.zeros(0, np.uint64)
_CONSTANTS = {None: b"N", True: b"T", False: b"F"}
_EMPTY_DICT = b"d" + _count.pack(0)
_LENGTHS = [bytes([length]) for length in range(KEPT_BYTES + 1)]
# The 80-bit float of x86 occupies 12 or 16 bytes; a complex one is two of them.
_PADDED = {np.dtype(code) for code in "gG" if np.finfo(np.longdouble).nmant == 63}
_PADDED |= {dtype.newbyteorder() for dtype in _PADDED}

# The bytes before an array's own, by dtype and shape: simulators return the same few, thousands of times.
MAX_HEADS = 1000
_HEADS = {}  # type: dict

# Whether the members of a class have a form, by class.
_CLASSES = {}  # type: dict
# The types that an Enum class may mix in.
_MIXED = (object, int, float, complex, str, bytes, tuple)
MAX_FRACTION_BITS = 2**16
_TEXTS = {
    datetime.date: datetime.date.isoformat,
    datetime.time: lambda value: "%s %d" % (value.isoformat(), value.fold),
    datetime.datetime: lambda value: "%s %d" % (value.isoformat(), value.fold),
    datetime.timedelta: lambda value: "%d %d %d" % (value.days, value.seconds, value.microseconds),
    datetime.timezone: _text_of_zone,
    decimal.Decimal: str,
    fractions.Fraction: str,
    uuid.UUID: str,
    pathlib.PosixPath: str,
    pathlib.PurePosixPath: str,
    pathlib.PureWindowsPath: str,
}

_NUMBERS = {np.dtype(code).type: _counted(b"n", np.dtype(code).str.encode("ascii")) for code in "?bBhHiIlLqQefdFD"}
_WRITE = {
    type(None): _constant,
    bool: _constant,
    int: _int,
    float: _float,
    complex: _complex_number,
    str: _str,
    bytes: _bytes,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _set,
    deque: _deque,
    bytearray: _bytearray,
    range: _three,
    slice: _three,
    np.ndarray: _array,
    np.generic: _scalar,
    # These two need their own entries: str and bytes come before np.generic in their MROs.
    np.str_: _scalar,
    np.bytes_: _scalar,
}
_WRITE.update(dict.fromkeys(_NUMBERS, _number))
_WRITE.update(dict.fromkeys(_TEXTS, _library_value))
