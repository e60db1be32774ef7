"""Stacks the observations of several envs: each leaf of the space becomes an array (count, …).

Knows spaces as plain data, and numpy. Never knows an env or the wire. Python 3.6 and up. Like a layout, a stack accepts
only the exact type, dtype, shape and key order. The client stacks everything else, by Gymnasium's rules for casting.
"""

from collections import OrderedDict
from operator import attrgetter

import numpy as np

from gym_service.protocol.layout import batched
from gym_service.protocol.values import LARGE_BYTES, BadValue

_SHAPE, _DTYPE = attrgetter("shape"), attrgetter("dtype")


def make_stack(space, count):
    """The stack for a space that has a layout; None for any other space."""
    make = _STACKS.get(space["kind"])
    return make(space, count) if make else None


class _Leaf:
    """An array (count, …) in its own memory or, for one call, in rows of memory that the client offers."""

    def __init__(self, space, count):
        space = batched(space, count)
        self.dtype, self.shape = np.dtype(space["dtype"]), tuple(space["shape"])
        self._own = self.value = np.zeros(self.shape, self.dtype)

    def attach_memory(self, offers, first):
        """Use the next offer, from row ``first`` on, if there are offers and the leaf is large enough to get one."""
        self.value = self._own
        if offers is None or self._own.nbytes < LARGE_BYTES:
            return
        offer = next(offers, b"")
        start = first * (self._own.nbytes // self.shape[0])
        if len(offer) - start < self._own.nbytes:
            raise BadValue("%d bytes were offered for %d from byte %d on" % (len(offer), self._own.nbytes, start))
        self.value = np.ndarray(self.shape, self.dtype, offer, start)


class Arrays(_Leaf):
    """The stack of a space whose values are single arrays."""

    def fit(self, values):
        """Whether each value fits its row exactly."""
        count = len(values)
        # By C functions: a loop costs light envs some per cent of their steps.
        if list(map(type, values)).count(np.ndarray) != count or list(map(_DTYPE, values)).count(self.dtype) != count:
            return False
        return list(map(_SHAPE, values)).count(self.shape[1:]) == count

    def write_rows(self, values):
        """Write each value into its row. Returns whether all fitted."""
        if not self.fit(values):
            return False
        shape, rows = self.shape[1:], self.value
        if shape and rows.size:
            np.concatenate(values, out=rows.reshape((-1, *shape[1:])))
        else:
            rows[...] = values
        return True


class _Integers(_Leaf):
    def __init__(self, space, count):
        super().__init__(space, count)
        self.type = self.dtype.type
        limits = np.iinfo(self.dtype)
        self.low, self.high = int(limits.min), int(limits.max)

    def write_rows(self, values):
        for index, value in enumerate(values):
            cls = type(value)
            if (cls is not int and cls is not self.type) or not self.low <= value <= self.high:
                return False
            self.value[index] = value
        return True


class _Tuples:
    def __init__(self, space, count):
        self.parts = [make_stack(part, count) for part in space["spaces"]]

    @property
    def value(self):
        return tuple([part.value for part in self.parts])

    def attach_memory(self, offers, first):
        for part in self.parts:
            part.attach_memory(offers, first)

    def write_rows(self, values):
        length = len(self.parts)
        if not all(type(value) is tuple and len(value) == length for value in values):
            return False
        return all(part.write_rows([value[at] for value in values]) for at, part in enumerate(self.parts))


class _Dicts:
    def __init__(self, space, count):
        self.parts = {key: make_stack(part, count) for key, part in space["spaces"]}

    @property
    def value(self):
        return {key: part.value for key, part in self.parts.items()}

    def attach_memory(self, offers, first):
        for part in self.parts.values():
            part.attach_memory(offers, first)

    def write_rows(self, values):
        # Any order is accepted: a batched Dict has the order of its space.
        keys = self.parts.keys()
        if not all(type(value) in (dict, OrderedDict) and value.keys() == keys for value in values):
            return False
        return all(part.write_rows([value[key] for value in values]) for key, part in self.parts.items())


_STACKS = {
    "Box": Arrays,
    "MultiBinary": Arrays,
    "MultiDiscrete": Arrays,
    "Discrete": _Integers,
    "Tuple": _Tuples,
    "Dict": _Dicts,
}
