"""Converts classes of named tuples to plain data, and plain data to such classes.

Knows the classes of ``collections.namedtuple``. Never knows the wire, and never calls ``namedtuple``, which evaluates
code that contains the names. Python 3.6 and up; runs on both sides.

The data of a class is a tuple: ``NAMED_TUPLE``, module, qualified name, the names of its fields.
"""

import copyreg
import keyword
import operator
import re

from gym_service.protocol.enum_classes import MAX_MEMBERS, ClassRefused
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import module_name

NAMED_TUPLE = "namedtuple"
# With rename=True, namedtuple() replaces an invalid name by the field's position.
_NUMBERED = re.compile(r"_\d+")


def is_named_tuple(value):
    """Whether a value is a tuple whose class names its items."""
    cls = type(value)
    if not issubclass(cls, tuple):
        return False
    fields = getattr(cls, "_fields", None)
    return type(fields) is tuple and hasattr(cls, "_make") and len(fields) == tuple.__len__(value)


def describe(cls):
    """The data of a class."""
    return NAMED_TUPLE, module_name(cls), str.__str__(cls.__qualname__), [str.__str__(name) for name in cls._fields]


def make(data, definition, restore):
    """The class that ``describe`` described. Raises ClassRefused, and ValueError if the data is malformed.

    ``restore`` is a module-level function for pickle: ``restore(definition)`` returns the class.
    """
    _, module, qualname, fields = data
    if type(fields) is not list or len(fields) > MAX_MEMBERS:
        raise ValueError("not the fields of a named tuple")
    if not all(type(text) is str for text in (module, qualname, *fields)):
        raise ValueError("not the names of a named tuple")
    if len(set(fields)) != len(fields) or not all(map(_is_field, fields)):
        raise ClassRefused("a field has a name that Python refuses")
    namespace = {name: property(operator.itemgetter(at)) for at, name in enumerate(fields)}
    namespace.update(__slots__=(), __module__=module, __qualname__=qualname, _fields=tuple(fields))
    namespace.update(__match_args__=tuple(fields), _field_defaults={}, _definition=(definition, restore))
    try:
        return MadeTupleType(qualname.rpartition(".")[2], (MadeNamedTuple,), namespace)
    except (TypeError, ValueError) as error:
        if is_foreign(error):
            raise
        raise ClassRefused(str(error)) from error


def _is_field(name):
    if name[:1] == "_":
        return _NUMBERED.fullmatch(name) is not None
    return name.isidentifier() and not keyword.iskeyword(name)


class MadeTupleType(type):
    """The metaclass of the classes made here: with it, pickle finds a class by its definition, not by its name."""

    _definition = ()  # type: tuple  # of each class: (definition, restore)


copyreg.pickle(MadeTupleType, lambda cls: (cls._definition[1], (cls._definition[0],)))


class MadeNamedTuple(tuple):
    """The base of every class made here, with all methods of a named tuple."""

    __slots__ = ()
    _fields = ()

    def __new__(cls, *args, **kwargs):
        names = cls._fields[len(args) :]
        if len(args) > len(cls._fields) or set(kwargs) != set(names):
            raise TypeError("%s takes the arguments %s" % (cls.__name__, ", ".join(cls._fields)))
        return tuple.__new__(cls, [*args, *[kwargs[name] for name in names]])

    @classmethod
    def _make(cls, iterable):
        items = tuple(iterable)
        if len(items) != len(cls._fields):
            raise TypeError("Expected %d arguments, got %d" % (len(cls._fields), len(items)))
        return tuple.__new__(cls, items)

    def _asdict(self):
        return dict(zip(self._fields, self))

    def _replace(self, **kwargs):
        unknown = [name for name in kwargs if name not in self._fields]
        if unknown:
            raise ValueError("Got unexpected field names: %r" % unknown)
        return self._make([kwargs.get(name, item) for name, item in zip(self._fields, self)])

    def __getnewargs__(self):
        return tuple(self)

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % pair for pair in zip(self._fields, self)))
