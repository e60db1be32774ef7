"""The observations of several envs as one: each leaf of the space an array (count, …).

Knows spaces as plain data, and numpy. Never knows an env or the wire. Python 3.6 and up. As a layout, a stack fits
only the exact type, dtype, shape and key order; what does not fit is stacked by the client, with Gymnasium's own
rules of what may be cast to what.
"""

from collections import OrderedDict

import numpy as np

from gym_service.layout import batched


def stack_for(space, count):
    """The stack of a space that has a layout; None for any other."""
    make = _STACKS.get(space["kind"])
    return make(space, count) if make else None


class _Arrays:
    def __init__(self, space, count):
        self.dtype, self.shape = np.dtype(space["dtype"]), tuple(space["shape"])
        self.value = np.zeros(batched(space, count)["shape"], self.dtype)

    def fill(self, values):
        """Put each value into its row; returns whether all fitted."""
        dtype, shape, rows = self.dtype, self.shape, self.value
        for index, value in enumerate(values):
            if type(value) is not np.ndarray or value.dtype != dtype or value.shape != shape:
                return False
            rows[index] = value
        return True


class _Integers:
    def __init__(self, space, count):
        self.value = np.zeros(count, np.dtype(space["dtype"]))
        self.type = self.value.dtype.type
        limits = np.iinfo(self.value.dtype)
        self.low, self.high = int(limits.min), int(limits.max)

    def fill(self, values):
        for index, value in enumerate(values):
            cls = type(value)
            if (cls is not int and cls is not self.type) or not self.low <= value <= self.high:
                return False
            self.value[index] = value
        return True


class _Tuples:
    def __init__(self, space, count):
        self.parts = [stack_for(part, count) for part in space["spaces"]]
        self.value = tuple(part.value for part in self.parts if part)

    def fill(self, values):
        length = len(self.parts)
        if not all(type(value) is tuple and len(value) == length for value in values):
            return False
        return all(part.fill([value[at] for value in values]) for at, part in enumerate(self.parts))


class _Dicts:
    def __init__(self, space, count):
        self.parts = {key: stack_for(part, count) for key, part in space["spaces"]}
        self.value = {key: part.value for key, part in self.parts.items() if part}

    def fill(self, values):
        # In any order: a batched Dict has the order of its space.
        keys = self.parts.keys()
        if not all(type(value) in (dict, OrderedDict) and value.keys() == keys for value in values):
            return False
        return all(part.fill([value[key] for value in values]) for key, part in self.parts.items())


_STACKS = {
    "Box": _Arrays,
    "MultiBinary": _Arrays,
    "MultiDiscrete": _Arrays,
    "Discrete": _Integers,
    "Tuple": _Tuples,
    "Dict": _Dicts,
}
