"""Converts Enum classes to plain data, and plain data to Enum classes.

Knows Python's ``enum`` in every version from 3.6. Never knows the wire, and never imports what the data names: a class
made here has the module and the name of the original, but none of its code. Python 3.6 and up; runs on both sides.

The data of a class is a tuple: ``ENUM``, module, qualified name, sort, boundary, members, names. The sort is the class
of ``enum`` that it derives from, or the Python type that it mixes in. A member is (name, name of the member that it
means, value, data): for an alias the last two are None; ``data`` is the member's own value as a text or number, None if
it equals the value. ``names`` are the names in iteration order. Iteration leaves out aliases, and which members of a
Flag are aliases depends on the version of Python.
"""

import copyreg
import enum
import sys
import types

import numpy as np

from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import module_name

ENUM = "enum"
MAX_MEMBERS = 10000
# Before Python 3.11 the value of each new member is compared with all before it, which takes 10 s for 10,000 members;
# since then only if values cannot be hashed.
_COMPARES_ALL = sys.version_info < (3, 11)
MAX_UNHASHABLE = 300
# Flag computes with all bits of its members, once for each member.
MAX_FLAG_BITS = 1024

_LIBRARY = {getattr(enum, name, None): name for name in ("IntFlag", "IntEnum", "StrEnum", "Flag")}
# Functions that return a member's plain value, without what its class adds, for each type that a class may mix in.
_DATA = {  # type: dict
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    str: str.__str__,
    bytes: lambda value: b"".join((value,)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
}
_DATA_NAMES = {cls.__name__: cls for cls in _DATA}
_SORTS = {"Enum": object, "Flag": object, "IntFlag": int, "IntEnum": int, "StrEnum": str}
_SORTS.update(_DATA_NAMES)
# The exceptions that making a class was seen to raise for names and values that Python refuses.
_REFUSALS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class ClassRefused(Exception):
    """A class has no form as data, or Python refuses to make a class from the data. The text says why."""


def is_member(value):
    """Whether a value is a member of an Enum class. Looks only at types, so no code of the value runs."""
    return issubclass(type(type(value)), enum.EnumMeta)


def is_class(value):
    """Whether a value is an Enum class with members."""
    return issubclass(type(value), enum.EnumMeta) and bool(value._member_map_)


def describe(cls):
    """The data of an Enum class. Raises ClassRefused."""
    if len(cls._member_map_) > MAX_MEMBERS:
        raise ClassRefused("its class has %d members, and %d can cross" % (len(cls._member_map_), MAX_MEMBERS))
    sort = _sort_of(cls)
    to_data = _DATA.get(_SORTS[sort])
    members = []
    for name, member in cls._member_map_.items():
        name, of, value = str.__str__(name), str.__str__(member._name_), member._value_
        if name != of:
            members.append((name, of, None, None))
            continue
        data = to_data(member) if to_data else None
        members.append((name, name, value, None if type(data) is type(value) and data == value else data))
    boundary = getattr(getattr(cls, "_boundary_", None), "value", None) if issubclass(cls, enum.Flag) else None
    names = [str.__str__(name) for name in cls._member_names_]
    return ENUM, module_name(cls), str.__str__(cls.__qualname__), sort, boundary, members, names


def _sort_of(cls):
    data_type = cls._member_type_
    name = next((_LIBRARY[base] for base in cls.__mro__ if base in _LIBRARY), "Enum")
    if data_type is _SORTS[name]:
        return name
    # numpy's numbers and named tuples also derive from these types, but hold more than they do.
    mixed = next((base for base in data_type.__mro__ if base in _DATA), None)
    if name == "Enum" and mixed and not issubclass(data_type, np.generic) and not hasattr(data_type, "_fields"):
        return mixed.__name__
    raise ClassRefused("its class mixes a %s into an Enum" % data_type.__name__)


def make(data, definition, restore):
    """The class that ``describe`` described. Raises ClassRefused, and ValueError if the data is malformed.

    ``restore`` is a module-level function for pickle: ``restore(definition)`` returns the class, ``restore(definition,
    name, value)`` a member.
    """
    _, module, qualname, sort, boundary, members, names = data
    _check(module, qualname, sort, members, names)
    values = {name: (value if data is None else data, value) for name, of, value, data in members if name == of}

    methods = _methods(sort, definition, restore)

    def fill(namespace):
        namespace.update(methods, __module__=module, __qualname__=qualname)
        for name, of, _, _ in () if _COMPARES_ALL else members:
            namespace[name] = values[of]

    keywords = {"metaclass": MadeEnumType}
    try:
        if boundary is not None and hasattr(enum, "FlagBoundary"):  # new in Python 3.11
            keywords["boundary"] = enum.FlagBoundary(boundary)  # novermin
        cls = types.new_class(qualname.rpartition(".")[2], _bases(sort), keywords, fill)
        if _COMPARES_ALL:
            _add_members(cls, methods["__new__"], members, values)
        found = [(name, member._name_, member._value_) for name, member in cls._member_map_.items()]
    except _REFUSALS as error:
        if is_foreign(error):
            raise
        raise ClassRefused("%s: %s" % (type(error).__name__, error)) from error
    for (name, of, value), (given_name, given_of, _, _) in zip(found, members):
        if (name, of) != (given_name, given_of) or value is not values[of][1]:
            raise ClassRefused("Python makes %s of %s, and %s was described" % (of, name, given_of))
    if len(found) != len(members):
        raise ClassRefused("a member has a name that Python keeps for itself")
    cls._member_names_ = list(names)
    type.__setattr__(cls, "_definition_", definition)
    return cls


def _add_members(cls, new, members, values):
    """What EnumMeta does with the members of its namespace, but without comparing their values."""
    for name, of, _, _ in members:
        if name == of:
            member = new(cls, *values[of])
            member._name_, member.__objclass__ = name, cls
            if _is_hashable(member._value_):
                cls._value2member_map_.setdefault(member._value_, member)
        cls._member_map_[name] = member if name == of else cls._member_map_[of]


def _check(module, qualname, sort, members, names):
    # This check comes first: a range of a few bytes is a sequence of any length.
    if type(members) is not list or type(names) is not list or len(names) > len(members):
        raise ValueError("not an Enum class")
    texts = [module, qualname, sort, *names]
    for name, of, _, _ in members:
        texts += [name, of]
        if name == "mro" or (len(name) > 2 and name[0] == name[-1] == "_"):
            raise ClassRefused("a member has a name that Python keeps for itself")
    if not all(type(text) is str for text in texts) or sort not in _SORTS or not 0 < len(members) <= MAX_MEMBERS:
        raise ValueError("not the members of an Enum class")
    _check_values(sort, [(value, data) for name, of, value, data in members if name == of])
    own = {name for name, of, _, _ in members if name == of}
    if not own.issuperset(of for _, of, _, _ in members) or not own.issuperset(names):
        raise ValueError("an alias of no member")


def _check_values(sort, values):
    """Refuse what would take Python's enum minutes: it searches all values for each one and combines all flags."""
    hashes = [hash(value) for value, _ in values if _is_hashable(value)]
    if len(values) - len(set(hashes)) > MAX_UNHASHABLE:
        raise ClassRefused("more than %d of its values have no hash of their own" % MAX_UNHASHABLE)
    if sort in ("Flag", "IntFlag") and not all(_is_flag(number) for pair in values for number in pair):
        raise ClassRefused("a flag has more than %d bits" % MAX_FLAG_BITS)


def _is_flag(value):
    return type(value) is not int or value.bit_length() <= MAX_FLAG_BITS


def _is_hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _bases(sort):
    if sort in _DATA_NAMES:
        return _DATA_NAMES[sort], enum.Enum
    if sort == "StrEnum" and not hasattr(enum, "StrEnum"):  # new in Python 3.11
        return str, enum.Enum
    return (getattr(enum, sort),)


def _methods(sort, definition, restore):
    data_type = _SORTS[sort]

    def new(cls, *args):
        # A class that mixes in a tuple gets both as one argument.
        data, value = args if len(args) == 2 else args[0]
        member = object.__new__(cls) if data_type is object else data_type.__new__(cls, data)
        member._value_ = value
        return member

    methods = {
        "__new__": new,
        "__reduce_ex__": lambda self, protocol: (restore, (definition, self._name_, self._value_)),
        "__copy__": lambda self: self,
        "__deepcopy__": lambda self, memo: self,
    }
    if data_type is object:
        methods.update({"__eq__": _equal, "__ne__": _differs, "__hash__": lambda self: hash(self._name_)})
    if data_type is not object and not issubclass(data_type, int):  # Python's own __repr__ shows the value as the data
        methods["__repr__"] = lambda self: "<%s.%s: %r>" % (type(self).__name__, self._name_, self._value_)
    if sort == "StrEnum":
        methods.update({"__str__": str.__str__, "__format__": str.__format__})
    return methods


def _equal(self, other):
    """Whether the other object is this member, or the member of the user's own class of the same name."""
    if self is other:
        return True
    own, cls = type(self), type(other)
    if not issubclass(type(cls), enum.EnumMeta):
        return NotImplemented
    if issubclass(type(cls), MadeEnumType):
        if own._definition_ != cls._definition_:
            return NotImplemented
    elif own.__qualname__ != cls.__qualname__ or cls._member_type_ is not object:
        return NotImplemented
    return self._name_ == other._name_ and bool(np.all(self._value_ == other._value_))


def _differs(self, other):
    equal = _equal(self, other)
    return equal if equal is NotImplemented else not equal


def member_of(cls, name):
    """The member of that name. Raises ValueError if there is none."""
    member = cls._member_map_.get(name) if is_class(cls) else None
    if member is None:
        raise ValueError("%s has no member %r" % (cls.__name__, name))
    return member


def combination_of(cls, name, value):
    """The member of a Flag for a value that its class does not name. Raises ValueError for any other class.

    Each value has one object, since a Flag compares by identity; its name depends on the version of Python. A class of
    this process makes and judges its own combinations.
    """
    if not issubclass(cls, enum.Flag) or type(value) is not int or not (name is None or type(name) is str):
        raise ValueError("not a combination of flags")
    if not _is_flag(value):
        raise ValueError("a flag of more than %d bits" % MAX_FLAG_BITS)
    known = cls._value2member_map_.get(value)
    if known is not None:
        return known
    if not issubclass(type(cls), MadeEnumType):
        return cls(value)
    # As Flag makes it itself, except for the bounds, which depend on the version of Python.
    member = int.__new__(cls, value) if issubclass(cls, int) else object.__new__(cls)
    member._name_, member._value_ = name, value
    member.__objclass__ = cls
    if len(cls._value2member_map_) < 2 * MAX_MEMBERS:
        cls._value2member_map_[value] = member
    return member


class MadeEnumType(enum.EnumMeta):
    """The metaclass of the classes made here: with it, pickle finds a class by its definition, not by its name."""


def use_restore(restore):
    """Make pickle write a class as ``restore(definition)``."""
    copyreg.pickle(MadeEnumType, lambda cls: (restore, (cls._definition_,)))
