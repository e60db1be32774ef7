"""Compares two values in every way that may cross: type, bits, dtype with byte order, shape, key order.

Knows Python's plain types and numpy. Never knows the wire, so that it can test it. Python 3.6 and up: the scripts that
run inside a target import it too. Strides do not count, nor does the padding inside a long double.
"""

import enum
import struct

import numpy as np


def same(left, right):
    """Return True, or raise an AssertionError that names the first difference with its path."""
    found = difference(left, right)
    assert not found, found
    return True


def difference(left, right, path="$"):
    """The first difference as a text; empty if there is none."""
    if isinstance(left, enum.Enum) and isinstance(right, enum.Enum):
        return _members(left, right, path)
    if _fields(left) != _fields(right) or (type(left) is not type(right) and not _fields(left)):
        return f"{path}: {type(left)} and {type(right)}"
    if isinstance(left, np.ndarray):
        return _arrays(left, right, path)
    if isinstance(left, dict):
        return _dicts(left, right, path)
    if isinstance(left, (list, tuple)):
        return _items(left, right, path)
    if isinstance(left, (set, frozenset)):
        return "" if _canonical(left) == _canonical(right) else f"{path}: {left!r} and {right!r}"
    return "" if _bits(left) == _bits(right) else f"{path}: {left!r} and {right!r}"


def _members(left, right, path):
    """Enum members are the same if the names of class and member, the value, and any mixed-in data are equal."""
    sides = []
    for member in (left, right):
        kinds = [base for base in (*PLAIN, *ENUMS) if isinstance(member, base)]
        sides.append((type(member).__module__, type(member).__qualname__, member._name_, kinds))
    if sides[0] != sides[1]:
        return f"{path}: {sides[0]} and {sides[1]}"
    return difference(left._value_, right._value_, path + ".value")


PLAIN = (int, float, complex, str, bytes, tuple)
ENUMS = tuple(getattr(enum, name) for name in ("IntEnum", "StrEnum", "Flag", "IntFlag") if hasattr(enum, name))


def _fields(value):
    """The data that identifies a class of named tuples; empty for any other value."""
    cls = type(value)
    is_named = isinstance(value, tuple) and hasattr(cls, "_fields")
    return (cls.__module__, cls.__qualname__, *cls._fields) if is_named else ()


def _arrays(left, right, path):
    facts = (left.dtype.str, left.shape), (right.dtype.str, right.shape)
    if facts[0] != facts[1]:
        return f"{path}: {facts[0]} and {facts[1]}"
    if left.dtype.kind == "O":
        return _items(left.ravel().tolist(), right.ravel().tolist(), path)
    return "" if _array_bits(left) == _array_bits(right) else f"{path}: {left!r} and {right!r}"


def _dicts(left, right, path):
    found = _items(list(left), list(right), path + ".keys()")
    if found:
        return found
    # By position: only the very same NaN object finds a NaN key.
    values = list(right.values())
    found = (difference(item, values[at], f"{path}[{key!r}]") for at, (key, item) in enumerate(left.items()))
    return next(filter(None, found), "")


def _items(left, right, path):
    if len(left) != len(right):
        return f"{path}: {len(left)} and {len(right)} items"
    found = (difference(left[index], right[index], f"{path}[{index}]") for index in range(len(left)))
    return next(filter(None, found), "")


def _bits(value):
    """Bytes that distinguish all scalars of a type, also -0.0 from 0.0 and one NaN from another."""
    if isinstance(value, np.generic):
        return value.dtype.str, _array_bits(np.asarray(value))
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, complex):
        return struct.pack("<dd", value.real, value.imag)
    return value


def _array_bits(array):
    if array.dtype.kind == "c" and array.dtype.itemsize > 16:
        return _array_bits(array.real), _array_bits(array.imag)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        # Six of the sixteen bytes are padding, which a copy need not preserve.
        flat = array.ravel()
        digits = np.where(np.isnan(flat), 0, flat)
        return [repr(digit) for digit in digits], np.isnan(flat).tolist(), np.signbit(flat).tolist()
    return array.tobytes()


def _canonical(value):
    """A text that is equal for equal sets, whatever their order of iteration."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(_canonical(item) for item in value)}"
    if isinstance(value, tuple):
        return f"{type(value).__name__}{[_canonical(item) for item in value]}"
    return f"{type(value)}{_bits(value)!r}"
