"""A space as plain data: the server describes its spaces in this form, and both sides compile their layouts from it.

Knows the attributes of gym's and Gymnasium's spaces by name. Never imports either: the target may have any version of
them, without attributes that came later (Discrete.start, MultiDiscrete.start, Sequence.stack). Python 3.6 and up.
``client/spaces.py`` turns the data back into Gymnasium's spaces.

Every space is a dict with its ``kind``; the other keys are the attributes of that kind. The spaces inside a Dict are a
list of (key, space), so that their order is part of the data. A Box's bound that is the same everywhere is an array
without dimensions: otherwise the bounds of a camera would be four times as large as its image.
"""

import numpy as np

from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import BOUND_BYTES
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import (
    MAX_DIMENSIONS,
    BadValue,
    bounded_repr,
    dtype_from,
    element_count,
    module_name,
    type_name,
)


class CannotDescribe(Exception):
    """A space has no form on the wire. ``path`` is its place, ``type_name`` its class."""

    def __init__(self, path, cls):
        super().__init__(
            "%s is a %s: no space that gym-service knows is among its bases, and it states neither dtype nor shape"
            % (path, cls)
        )
        self.path = path
        self.type_name = cls


def describe(space, path):
    """The plain data of a space. ``path`` names it in errors (``$.observation_space``).

    Raises CannotDescribe, and CannotEncode for a key of a Dict that cannot cross.
    """
    for cls in type(space).__mro__:
        if module_name(cls).split(".")[0] in ("gym", "gymnasium") and cls.__name__ in _KINDS:
            data = _KINDS[cls.__name__](space, path)
            data["kind"] = cls.__name__
            return data
    return _describe_unknown(space, path)


def _describe_box(space, path):
    return {
        "low": _uniform(space.low),
        "high": _uniform(space.high),
        "shape": _lengths(space.shape),
        "dtype": np.dtype(space.dtype).str,
        # An int Box made with an infinite side stores the dtype's limit as its bound. Only these attributes say that it
        # has no bound, so they cannot be derived from low and high.
        "bounded_below": _uniform(getattr(space, "bounded_below", -np.inf < space.low)),
        "bounded_above": _uniform(getattr(space, "bounded_above", space.high < np.inf)),
    }


def _uniform(bound):
    """The number that an array holds everywhere, as an array without dimensions; else the array itself.

    The comparison is by bytes, so that it also holds for NaN and tells the two zeros apart.
    """
    if type(bound) is not np.ndarray or bound.size < 2 or bound.dtype.hasobject:
        return bound
    flat = np.ascontiguousarray(bound).reshape(-1)
    words = flat.view(np.uint8).reshape(flat.size, -1)
    return flat[0:1].reshape(()).copy() if (words == words[0]).all() else bound


_ATTRIBUTE_TYPES = {
    "low": (np.ndarray, np.generic),
    "high": (np.ndarray, np.generic),
    "bounded_below": (np.ndarray, np.generic),
    "bounded_above": (np.ndarray, np.generic),
    "shape": (tuple, type(None)),
    "n": (int, tuple),
    "nvec": (np.ndarray,),
    "charset": (str,),
    "spaces": (list,),
    "feature_space": (dict,),
    "node_space": (dict,),
    "edge_space": (dict, type(None)),
}


def _check_form(space):
    """Raise ValueError if data is not a space: any peer may have sent it, and a range is a sequence of any length."""
    if type(space) is not dict or any(type(value) is range for value in space.values()):
        raise ValueError("not a space")
    for name, types in _ATTRIBUTE_TYPES.items():
        if name in space and not isinstance(space[name], types):
            raise ValueError("not the %s of a space" % name)
    for lengths in (space.get("shape"), space.get("n")):
        if type(lengths) is tuple and len(lengths) > MAX_DIMENSIONS:
            raise ValueError("%d dimensions" % len(lengths))
        if type(lengths) is tuple and not all(type(length) is int and length >= 0 for length in lengths):
            raise ValueError("not the lengths of a space")


def largest_value(space, path):
    """(bytes, path) of the largest array in a value of the space, according to its plain data.

    Raises KeyError, TypeError or ValueError where the data is no space.
    """
    _check_form(space)
    parts = [(space.get(name), "%s.%s" % (path, name)) for name in ("feature_space", "node_space", "edge_space")]
    for key, part in enumerate(space.get("spaces", ())):
        parts.append((part, "%s[%d]" % (path, key)) if type(part) is dict else (part[1], "%s[%r]" % (path, part[0])))
    found = [largest_value(part, inner) for part, inner in parts if part is not None]
    if space["kind"] == "Box":
        dtype = dtype_from(space["dtype"])
        found.append((element_count(space["shape"]) * (dtype.itemsize if dtype else 1), path))
    return max(found, key=lambda one: one[0]) if found else (0, path)


def claimed_bytes(space):
    """The total size of the values of all Boxes in a space, according to its plain data.

    Raises KeyError, TypeError or ValueError where the data is no space.
    """
    _check_form(space)
    parts = [part if type(part) is dict else part[1] for part in space.get("spaces", ())]
    parts += [space.get(name) for name in ("feature_space", "node_space", "edge_space")]
    total = sum(claimed_bytes(part) for part in parts if part is not None)
    if space["kind"] == "Box":
        dtype = dtype_from(space["dtype"])
        total += element_count(space["shape"]) * (dtype.itemsize if dtype else 1)
    return total


def built(build, data):
    """The space that a library's ``build`` makes from plain data. Raises BadValue if it cannot."""
    try:
        return build(data)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        if is_foreign(error):
            raise
        raise BadValue("not a space: %s: %s" % (type(error).__name__, error)) from error


def _describe_discrete(space, path):
    dtype = np.dtype(np.int64 if space.dtype is None else space.dtype)
    return {"n": int(space.n), "start": int(getattr(space, "start", 0)), "dtype": dtype.str}


def _describe_multi_discrete(space, path):
    nvec = np.asarray(space.nvec)
    start = np.asarray(getattr(space, "start", np.zeros_like(nvec)))
    return {"nvec": nvec, "start": start, "shape": tuple(nvec.shape), "dtype": np.dtype(space.dtype).str}


def _describe_multi_binary(space, path):
    n = int(space.n) if np.ndim(space.n) == 0 else _lengths(space.n)
    dtype = np.dtype(np.int8 if space.dtype is None else space.dtype)
    return {"n": n, "shape": _lengths(space.shape), "dtype": dtype.str}


def _describe_text(space, path):
    # The order of the characters decides what a seeded sample() returns, so this reads the list and not the set. gym
    # 0.25 has it under another name.
    characters = space._charlist if hasattr(space, "_charlist") else space._char_list
    return {"min_length": int(space.min_length), "max_length": int(space.max_length), "charset": "".join(characters)}


def _describe_tuple(space, path):
    return {"spaces": [describe(part, "%s[%d]" % (path, index)) for index, part in enumerate(space.spaces)]}


def _describe_dict(space, path):
    for key in space.spaces:
        Encoder().add(key, path)  # raises CannotEncode: with an Opaque as key it would be another space
    return {"spaces": [(key, describe(part, "%s[%r]" % (path, key))) for key, part in space.spaces.items()]}


def _describe_sequence(space, path):
    feature_space = describe(space.feature_space, path + ".feature_space")
    return {"feature_space": feature_space, "stack": bool(getattr(space, "stack", False))}


def _describe_graph(space, path):
    edge_space = space.edge_space
    return {
        "node_space": describe(space.node_space, path + ".node_space"),
        "edge_space": None if edge_space is None else describe(edge_space, path + ".edge_space"),
    }


def _describe_unknown(space, path):
    """What a space of a custom class says of itself (minigrid's MissionSpace says that its values are str)."""
    dtype, shape = getattr(space, "dtype", None), getattr(space, "shape", None)
    if dtype is None and shape is None:
        raise CannotDescribe(path, type_name(space))
    return {
        "kind": "Foreign",
        "class_name": type_name(space),
        "text": bounded_repr(space, 1000),
        "dtype": None if dtype is None else np.dtype(dtype).str,
        "shape": None if shape is None else _lengths(shape),
    }


def _lengths(shape):
    """A shape in Python's integers: old gym keeps the integers it is given, also numpy's."""
    return tuple(int(length) for length in shape)


_KINDS = {
    "Box": _describe_box,
    "Discrete": _describe_discrete,
    "MultiDiscrete": _describe_multi_discrete,
    "MultiBinary": _describe_multi_binary,
    "Text": _describe_text,
    "Tuple": _describe_tuple,
    "Dict": _describe_dict,
    "Sequence": _describe_sequence,
    "Graph": _describe_graph,
    "OneOf": _describe_tuple,
}


KINDS = frozenset([*_KINDS, "Foreign"])


def _as_value(space, path):
    try:
        data = describe(space, path)
    except CannotDescribe as error:
        return None, "it has no form on the wire: %s" % error
    size = claimed_bytes(data)
    if size > BOUND_BYTES:
        return None, "its values are %d bytes, and as a value a space may have %d" % (size, BOUND_BYTES)
    return data, ""


Encoder.describe_space = staticmethod(_as_value)
