"""The states of the random generators that a render could draw from: read before it, compared and put back after it.

Knows the global generators of Python and numpy, and numpy's generators among the attributes of an env and its wrappers.
Never looks deeper, and never makes a generator: some envs make theirs when it is first read. Python 3.6 and up.
"""

import random

import numpy as np

NAMES = ("np_random", "_np_random")


class RandomStates:
    """The states as they were when this was made."""

    def __init__(self, layers):
        self._layers = layers
        self._generators = _generators_of(layers)
        self._states = [_state(generator) for _, _, generator in self._generators]
        self._absent = [(layer, name) for layer in layers for name in NAMES if vars_of(layer).get(name, layer) is None]
        self._global = random.getstate(), np.random.get_state()

    def restore_changed(self):
        """Put each changed state back. Returns what has changed, in words; empty if nothing has."""
        changed = []
        for (layer, name, generator), state in zip(self._generators, self._states):
            if not _same(_state(generator), state):
                _set_state(generator, state)
                changed.append(name)
            if vars_of(layer).get(name) is not generator:
                vars_of(layer)[name] = generator
                changed.append(name)
        for layer, name in self._absent:
            if vars_of(layer).get(name) is not None:
                vars_of(layer)[name] = None
                changed.append(name)
        if random.getstate() != self._global[0]:
            random.setstate(self._global[0])
            changed.append("random")
        if not _same(np.random.get_state(), self._global[1]):
            np.random.set_state(self._global[1])
            changed.append("numpy.random")
        return ", ".join(sorted(set(changed)))


def vars_of(thing):
    """Its own attributes; empty if it has none."""
    return getattr(thing, "__dict__", {})


def _generators_of(layers):
    """(layer, name, generator) of each generator of numpy's among the attributes."""
    kinds = (np.random.RandomState, *filter(None, [getattr(np.random, "Generator", None)]))
    found = []
    for layer in layers:
        found += [(layer, name, value) for name, value in list(vars_of(layer).items()) if isinstance(value, kinds)]
    return found


def _state(generator):
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    return generator.bit_generator.state


def _set_state(generator, state):
    if isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.bit_generator.state = state


def _same(one, two):
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(_same(one[name], two[name]) for name in one)
    if isinstance(one, (tuple, list)):
        return type(one) is type(two) and len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    return one == two
