"""The values that may cross: the limits, the dtypes, and the one type of gym-service's own.

Knows Python's plain types and numpy's arrays. Never knows a space, an env or a socket. Python 3.6 and up, numpy
1.13 and up; runs on both sides. ``encoder.py`` writes such values, ``decoder.py`` reads them.

Strategy. A message is a sequence of values in one *head*. Small arrays are copied into the head and out of it. Large
ones are not copied: they travel as *buffers* beside the head. Types are exact: ``numpy.float64`` is not ``float``, a
tuple is not a list. Subclasses (OrderedDict, a user's own list class) cross as the type below them, Enums and named
tuples with their class. Rejected: pickle (executes what it reads), JSON (no tuples, NaN or bytes), msgpack (no big
integers, sets or complex; a dependency in the target).
"""

import re
from collections import deque

import numpy as np

from gym_service.protocol.interrupts import is_from_handler

# Arrays of at least this size travel as separate buffers. For smaller ones two more copies cost less than a descriptor,
# memory of their own, and a step that is not compiled. An image of 64x64x3 bytes is large: over TCP it is encoded.
LARGE_BYTES = 12288
# Each level is two Python frames on either side; 100 levels stay clear of the default recursion limit of 1,000.
MAX_DEPTH = 100
# numpy's own limit before 2.0; later it is 64.
MAX_DIMENSIONS = 32
REPR_CHARS = 200
# The types whose repr never raises.
_PLAIN_TYPES = frozenset((str, int, bool, float, bytes, type(None)))

# Lengths and multiples are bounded because old numpy does not check them: "<U999999999" has a negative size there, and
# "<M8[3000000000s]" a negative unit. Even today numpy accepts a unit of length zero, "<M8[0s]".
ALLOWED_DTYPE = re.compile(
    r"[<>|](?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SU][1-9]\d{0,7}"
    r"|[mM]8(?:\[(?:[1-9]\d{0,8})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)

_UNHASHABLE = (list, dict, set, tuple, np.ndarray, deque, bytearray, slice)
_DTYPE_TEXTS = {}  # type: dict
_DTYPES = {}  # type: dict
GRAPH_FIELDS = ("nodes", "edges", "edge_links")


class CannotEncode(Exception):
    """A value has no form on the wire. ``path`` is its place, ``type_name`` its type."""

    def __init__(self, path, type_name, reason):
        super().__init__("%s is a %s: %s" % (path, type_name, reason))
        self.path = path
        self.type_name = type_name
        self.reason = reason


class BadValue(Exception):
    """The bytes are not a value: the peer broke the rules, or is not a gym-service peer."""


class Opaque:
    """Stands in an info for an object that could not cross. It holds the object's type name and its (bounded) repr.

    It refuses to answer for that object: truth value, length, equality and the like raise a TypeError. It can be shown
    and hashed, and compared with another Opaque.
    """

    __slots__ = ("repr", "type_name")
    __array_ufunc__ = None  # so that numpy leaves the answer to the methods below

    def __init__(self, type_name, repr):
        self.type_name = type_name
        self.repr = repr

    def __repr__(self):
        return "Opaque(%s, %s)" % (self.type_name, self.repr)

    def __eq__(self, other):
        if not isinstance(other, Opaque):
            self._refuse()
        return (self.type_name, self.repr) == (other.type_name, other.repr)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash((self.type_name, self.repr))

    def _refuse(self, *args, **kwargs):
        raise TypeError(
            "this value is a %s, which could not cross, and %r stands for it: it has no truth value, length, items, "
            "number or order\n  try: let the simulator put a number, a text or an array into the info"
            % (self.type_name, self)
        )


_REFUSED_BY_OPAQUE = (
    "bool len iter contains int float complex index round trunc floor ceil array lt le gt ge neg pos abs invert "
    "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor "
    "radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand ror rxor"
)
for _name in _REFUSED_BY_OPAQUE.split():
    setattr(Opaque, "__%s__" % _name, Opaque._refuse)


def type_name(value):
    """The full name of a value's class, as people write it: without ``builtins``."""
    return class_name(type(value))


def class_name(cls):
    """The same for a class. Uses ``type`` itself: a metaclass may answer differently, and a class may lack a module."""
    name, module = type.__dict__["__qualname__"].__get__(cls), module_name(cls)
    return name if module == "builtins" else "%s.%s" % (module, name)


def module_name(cls):
    """The module of a class; "?" for a class without one."""
    try:
        module = type.__dict__["__module__"].__get__(cls)
    except AttributeError:
        return "?"
    return module if type(module) is str else "?"


def plain_name(value):
    """The name of the type as which a container, an array or a space crosses."""
    return next((cls.__name__ for cls in type(value).__mro__ if cls in _UNHASHABLE), "space")


def bounded_repr(value, chars=REPR_CHARS):
    """A repr of at most ``chars`` characters that cannot fail."""
    text = repr(value) if type(value) in _PLAIN_TYPES else _foreign_repr(value)
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _foreign_repr(value):
    try:
        return repr(value)
    except Exception as error:
        if is_from_handler(error):
            raise
        return "<repr failed: %s>" % type(error).__name__


def flat_bytes(array):
    """A C-ordered array's bytes as a flat uint8 view; a copy for any other memory order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def dtype_from(text):
    """The dtype of this name, or None if it is not allowed on the wire.

    The name is checked before numpy sees it: even comparing a dtype "<M8[0s]" ends the process with SIGFPE.
    """
    known = _DTYPES.get(text)
    if known is None and ALLOWED_DTYPE.fullmatch(text):
        known = np.dtype(text)
        if known.kind in "biufc":  # a short list, unlike text lengths and time units
            _DTYPES[text] = known
    return known


def dtype_text(dtype):
    """A dtype's name on the wire (ASCII bytes), or None if it is not allowed there."""
    known = _DTYPE_TEXTS.get(dtype)
    if known is None and ALLOWED_DTYPE.fullmatch(dtype.str):
        known = dtype.str.encode("ascii")
        if dtype.kind not in "SU":  # there is no end of lengths; the rest is a short list
            _DTYPE_TEXTS[dtype] = known
    return known


def is_space(value):
    """Whether a value is a space of gym or Gymnasium, or of a class that derives from theirs."""
    libraries = [module_name(cls).split(".")[0] for cls in type(value).__mro__ if cls.__name__ == "Space"]
    return "gym" in libraries or "gymnasium" in libraries


def is_graph(value):
    """Whether a value is a GraphInstance of gym or Gymnasium, whichever is installed here."""
    return type(value).__name__ == "GraphInstance" and getattr(type(value), "_fields", ()) == GRAPH_FIELDS


def element_count(shape):
    """The product of a shape in Python's own integers, which do not overflow."""
    count = 1
    for length in shape:
        count *= length
    return count
