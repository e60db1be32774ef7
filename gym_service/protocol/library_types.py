"""Values of the standard library's own types: dates, deques, ranges, paths and others; and spaces.

Knows how to write and restore each of them, and what to advise for types that have no form. Never knows an env or a
socket. Python 3.6 and up; runs on both sides.

Only the exact type has a form: a subclass of a date or a Decimal (pandas.Timestamp) holds more than its base.

Decimals, Fractions and UUIDs are rare, and their modules take long to import. This module imports them when the first
value arrives. A value that is sent shows that its module is loaded.
"""

import datetime
import operator
import pathlib
import struct
import sys
from collections import deque

from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import class_name

_int64 = struct.Struct("<q")
# A Fraction of larger numbers takes seconds to make, since Python computes their greatest common divisor.
MAX_FRACTION_BITS = 2**16


FIELDS_INSTEAD = "; pass {name: value[name] for name in value.dtype.names} instead"


class LibraryEncoder:
    """The part of an Encoder that knows the standard library's types."""

    # (plain data of a space, why it has none). space_spec.py sets this function; it needs the Encoder for Dict keys.
    describe_space = None  # type: object

    def _put_bytearray(self, value):
        if not self._is_key(value):
            self._put_bytes_as(b"y", bytes(memoryview(value)))

    def _put_deque(self, value):
        if not self._is_key(value):
            maxlen = deque.maxlen.__get__(value)
            self._put_items(b"q" + _int64.pack(-1 if maxlen is None else maxlen), value)

    def _put_range(self, value):
        # Before Python 3.10 a range keeps the bools and Enums that it was made of.
        self._put_items(b"r", tuple(map(operator.index, (value.start, value.stop, value.step))))

    def _put_slice(self, value):
        if not self._is_key(value):  # a slice has no hash before Python 3.12
            self._put_items(b"w", (value.start, value.stop, value.step))

    def _put_library_value(self, value):
        cls = type(value)
        parts = _PARTS[cls](value) if cls in _PARTS else None
        if parts is None:
            base = next(base.__name__ for base in cls.__mro__ if base in _PARTS)
            self._refuse(value, "only a plain %s has a form on the wire%s" % (base, _ADVICE_FOR_PARTS.get(cls, "")))
        else:
            self._put_items(b"k", (_NAMES[cls], *parts))

    def _put_space(self, value):
        if self._is_key(value):
            return
        if self._nesting:
            self._refuse(value, "a space cannot be the value of an Enum's member")
            return
        data, reason = self.describe_space(value, self._path_text())
        if data is None:
            self._refuse(value, reason)
        elif self._enter(value):
            self.head += b"S"
            self._put(data)
            self._leave()

    def _put_unknown(self, value):
        self._refuse(value, "this type has no form on the wire" + _advice(value))


def _advice(value):
    cls = type(value)
    if hasattr(cls, "numpy"):
        return "; pass .numpy() instead"
    for base in cls.__mro__:
        advice = _ADVICE.get(class_name(base))
        if advice is not None:
            return "; pass %s instead" % advice
    if getattr(getattr(value, "dtype", None), "names", None):
        return FIELDS_INSTEAD
    if hasattr(cls, "__dataclass_fields__"):
        return "; pass dataclasses.asdict(value) instead"
    return ""


_ADVICE = {
    "memoryview": "bytes(value)",
    "mappingproxy": "dict(value)",
    "dict_keys": "list(value)",
    "dict_values": "list(value)",
    "dict_items": "list(value)",
    "generator": "list(value)",
    "map": "list(value)",
    "zip": "list(value)",
    "filter": "list(value)",
    "array.array": "numpy.array(value)",
    "collections.UserDict": "value.data",
    "collections.UserList": "value.data",
    "collections.UserString": "value.data",
    "collections.ChainMap": "dict(value)",
    "types.SimpleNamespace": "vars(value)",
    "argparse.Namespace": "vars(value)",
}


def _of_timezone(value):
    return value.__getinitargs__()


def _of_time(value):
    zone = value.tzinfo
    if not (zone is None or type(zone) is datetime.timezone):
        return None
    return value.hour, value.minute, value.second, value.microsecond, zone, value.fold


def _of_datetime(value):
    time = _of_time(value)
    return None if time is None else (value.year, value.month, value.day, *time)


def _of_fraction(value):
    numbers = numbers_of(value)
    return numbers if max(number.bit_length() for number in numbers) <= MAX_FRACTION_BITS else None


def numbers_of(fraction):
    """Numerator and denominator as Python's ints: a Fraction keeps the numpy ints that it was made of."""
    return operator.index(fraction.numerator), operator.index(fraction.denominator)


_PARTS = {
    datetime.date: lambda value: (value.year, value.month, value.day),
    datetime.time: _of_time,
    datetime.datetime: _of_datetime,
    datetime.timedelta: lambda value: (value.days, value.seconds, value.microseconds),
    datetime.timezone: _of_timezone,
    pathlib.PosixPath: lambda value: (str(value),),
    pathlib.PurePosixPath: lambda value: (str(value),),
    pathlib.PureWindowsPath: lambda value: (str(value),),
}
_IN_UTC = ", with a time zone of datetime.timezone or none; pass value.astimezone(datetime.timezone.utc) instead"
_ADVICE_FOR_PARTS = {
    datetime.datetime: _IN_UTC,
    datetime.time: ", with a time zone of datetime.timezone or none",
}
_NAMES = {cls: cls.__name__ for cls in _PARTS}

# The name of the Encoder method that writes each of these types.
PUT = dict.fromkeys(_PARTS, "_put_library_value")
PUT.update({bytearray: "_put_bytearray", deque: "_put_deque", range: "_put_range", slice: "_put_slice"})

# For each rare type: its module, how its values are taken apart, and the advice for those that cannot be.
_RARE = {
    "Decimal": ("decimal", lambda value: (str(value),), ""),
    "Fraction": ("fractions", _of_fraction, " of numbers of up to %d bits" % MAX_FRACTION_BITS),
    "UUID": ("uuid", lambda value: (value.bytes,), ""),
}


def is_rare(cls):
    """Whether it is one of the rare types. From then on ``_put_library_value`` knows it."""
    if cls in _PARTS:
        return True
    name = type.__dict__["__name__"].__get__(cls)  # a metaclass may answer differently
    module, of_value, advice = _RARE.get(name, (None, None, ""))
    if module is None or getattr(sys.modules.get(module), name, None) is not cls:
        return False
    _ADVICE_FOR_PARTS[cls], _NAMES[cls] = advice, name
    _PARTS[cls] = of_value  # last, since another thread may look here first
    return True


def _time(hour, minute, second, microsecond, zone, fold):
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


def _datetime(year, month, day, hour, minute, second, microsecond, zone, fold):
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _decimal(text):
    import decimal

    return decimal.Decimal(text)


def _fraction(numerator, denominator):
    import fractions

    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise ValueError("the numbers of a Fraction are too large")
    return fractions.Fraction(numerator, denominator)


def _uuid(data):
    import uuid

    return uuid.UUID(bytes=data)


# For each type: its function, and the types of that function's arguments.
_MAKERS = {
    "date": (datetime.date, (int, int, int)),
    "time": (_time, (int, int, int, int, (type(None), datetime.timezone), int)),
    "datetime": (_datetime, (int, int, int, int, int, int, int, (type(None), datetime.timezone), int)),
    "timedelta": (datetime.timedelta, (int, int, int)),
    "timezone": (datetime.timezone, (datetime.timedelta, str)),
    "Decimal": (_decimal, (str,)),
    "Fraction": (_fraction, (int, int)),
    "UUID": (_uuid, (bytes,)),
    "PosixPath": (pathlib.Path, (str,)),
    "PurePosixPath": (pathlib.PurePosixPath, (str,)),
    "PureWindowsPath": (pathlib.PureWindowsPath, (str,)),
}


def made(items):
    """The value for a name and its parts. Raises ValueError, TypeError or OverflowError if they are invalid."""
    maker, types = _MAKERS.get(items[0], (None, ())) if items and type(items[0]) is str else (None, ())
    parts = items[1:]
    if maker is None or len(parts) > len(types) or not all(map(isinstance, parts, types)):
        raise ValueError("not a value of the standard library's types")
    try:
        return maker(*parts)
    except ArithmeticError as error:  # above all decimal.InvalidOperation
        if is_foreign(error):
            raise
        raise ValueError(str(error)) from error


def made_range(items):
    """The range of three ints. Raises ValueError."""
    if len(items) != 3 or not all(type(item) is int for item in items):
        raise ValueError("not a range")
    return range(*items)


def made_slice(items):
    """The slice of three values. Raises ValueError."""
    if len(items) != 3:
        raise ValueError("not a slice")
    return slice(*items)
