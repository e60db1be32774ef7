"""Builds a space of the simulator's own library from plain data, for a client that assigns a space.

Knows the data that ``gym_service/protocol/space_spec.py`` makes, and the spaces of any gym or gymnasium. Python 3.6 and
up. ``gym_service/client/spaces.py`` is its counterpart.
"""

import numpy as np

from gym_service.server import refusals


def build(spaces, data):
    """The space. ``spaces`` is the library's module of space classes. Raises Refused if it lacks the class."""
    make = _MAKERS.get(data["kind"])
    cls = getattr(spaces, data["kind"], None)
    if make is None or cls is None:
        raise refusals.api_mismatch("a space of kind %s cannot be assigned in this simulator" % data["kind"])
    return make(spaces, cls, data)


def _box(spaces, cls, data):
    low, high = (np.array(np.broadcast_to(data[name], data["shape"])) for name in ("low", "high"))
    return cls(low, high, dtype=np.dtype(data["dtype"]).type)


def _discrete(spaces, cls, data):
    return cls(data["n"], start=data["start"]) if data["start"] else cls(data["n"])


def _multi_discrete(spaces, cls, data):
    return cls(data["nvec"], start=data["start"]) if np.any(data["start"]) else cls(data["nvec"])


def _multi_binary(spaces, cls, data):
    return cls(data["n"])


def _text(spaces, cls, data):
    return cls(data["max_length"], min_length=data["min_length"], charset=data["charset"])


def _tuple(spaces, cls, data):
    return cls([build(spaces, part) for part in data["spaces"]])


def _dict(spaces, cls, data):
    return cls([(key, build(spaces, part)) for key, part in data["spaces"]])


_MAKERS = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Text": _text,
    "Tuple": _tuple,
    "Dict": _dict,
    "OneOf": _tuple,
}
