"""Classes that cross as a definition: those of Enum members and of named tuples.

Knows definitions as bytes, and the class that each means in this process. Never knows a message, and never imports what
a definition names. Python 3.6 and up; runs on both sides.

A class that this process has sent comes back as itself. Any other class is made once and kept: the newest 1,000, with
at most a million members in all. A class that is no longer kept is made again; its members equal those of the first.
"""

from gym_service.protocol import enum_classes, named_tuples
from gym_service.protocol.enum_classes import ClassRefused, MadeEnumType
from gym_service.protocol.named_tuples import MadeTupleType

MAX_CLASSES = 1000
MAX_DEFINITION_BYTES = 2**24
MAX_KEPT_MEMBERS = 10**6
# The memory of a class itself, in members.
CLASS_COST = 10
# A member's value counts as one more member for each of so many bytes.
MEMBER_BYTES = 256

_ORIGINALS = {}  # type: dict  # definition: the class of this process that was sent
_DEFINITIONS = {}  # type: dict  # class of this process: how many members it had, its definition
_MADE = {}  # type: dict  # definition: the class made of it, or why there is none
_kept_cost = [0]  # of all of these


class _Refused:
    """Stands for a class that Python refuses to make."""

    def __init__(self, class_name):
        self.class_name = class_name


def definition_of(cls, encode):
    """The definition of a class; ``encode`` turns plain data into bytes and may raise. Raises ClassRefused."""
    if issubclass(type(cls), MadeEnumType):
        return cls._definition_
    if type(cls) is MadeTupleType:
        return cls._definition[0]
    count = len(getattr(cls, "_member_map_", ()))
    known = _DEFINITIONS.get(cls)
    if known is None or known[0] != count:  # some libraries add members to a class
        describe = named_tuples.describe if issubclass(cls, tuple) and not count else enum_classes.describe
        known = count, _remembered(cls, encode(describe(cls)))
        if len(_DEFINITIONS) >= 2 * MAX_CLASSES:
            _DEFINITIONS.clear()
        _DEFINITIONS[cls] = known
    return known[1]


def _remembered(cls, definition):
    if len(definition) > MAX_DEFINITION_BYTES:
        raise ClassRefused("its class is described by %d bytes, and %d can cross" % (len(definition), 2**24))
    if definition not in _ORIGINALS and len(_ORIGINALS) >= MAX_CLASSES:
        raise ClassRefused("%d classes of Enums and named tuples have crossed already" % MAX_CLASSES)
    _ORIGINALS[definition] = cls
    return definition


def class_from(definition, decode, restore):
    """(The class of a definition, the cost of making it).

    ``decode`` reads plain data from bytes; ``restore`` is a function for pickle, see ``enum_classes.make``. Raises
    ClassRefused if Python refuses to make the class; the exception's text is the class's name.
    """
    cls = _ORIGINALS.get(definition)
    if cls is None:
        cls = _MADE.get(definition)
    if cls is not None:
        if isinstance(cls, _Refused):
            raise ClassRefused(cls.class_name)
        return cls, 0
    if len(definition) > MAX_DEFINITION_BYTES:
        raise ValueError("the definition of a class of %d bytes" % len(definition))
    data = decode(definition)
    if type(data) is not tuple or not data or data[0] not in (enum_classes.ENUM, named_tuples.NAMED_TUPLE):
        raise ValueError("not the definition of a class")
    make = enum_classes.make if data[0] == enum_classes.ENUM else named_tuples.make
    try:
        made = make(data, definition, restore)
    except ClassRefused:
        refused = _keep(definition, _Refused("%s.%s" % data[1:3]))
        raise ClassRefused(refused.class_name) from None
    return _keep(definition, made), _cost(definition, made)


def _keep(definition, made):
    kept = _MADE.setdefault(definition, made)  # another thread may have made it in the meantime
    if kept is made:
        _kept_cost[0] += _cost(definition, made)
    while len(_MADE) > 1 and (len(_MADE) > MAX_CLASSES or _kept_cost[0] > MAX_KEPT_MEMBERS):
        oldest = list(_MADE)[0]  # noqa: RUF015 - another thread may add to it
        _kept_cost[0] -= _cost(oldest, _MADE.pop(oldest, None))
    return kept


def _cost(definition, made):
    members = len(getattr(made, "_member_map_", ())) + len(getattr(made, "_fields", ()))
    return CLASS_COST + len(definition) // MEMBER_BYTES + members
