"""Values of classes that only a simulator has, and whose methods lie or raise. Any gym or gymnasium, any Python.

VALUES gives them by name; ``ForeignEnv.give(name, where)`` returns one in the next step.
"""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


class HashableList(list):
    __hash__ = object.__hash__


class HashableDict(dict):
    __hash__ = object.__hash__


class HashableSet(set):
    __hash__ = object.__hash__


class HashableArray(np.ndarray):
    __hash__ = object.__hash__


class Same(str):
    """A text that equals no other value."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


class LyingArray(np.ndarray):
    nbytes = 3
    shape = (7, 7)
    dtype = np.dtype("u1")

    def tobytes(self, order="C"):
        return b"?"


class LyingBytes(bytes):
    def __len__(self):
        return 2


class RaisingDict(dict):
    def items(self):
        raise RuntimeError("items")


class RaisingList(list):
    def __iter__(self):
        raise RuntimeError("iter")


class RaisingMeta(type):
    def __getattribute__(cls, name):
        if name in ("numpy", "_fields", "__name__", "__module__", "__qualname__"):
            raise RuntimeError(name)
        return type.__getattribute__(cls, name)


class Raising(metaclass=RaisingMeta):
    def __repr__(self):
        raise RuntimeError("repr")


# Like the classes that a template engine makes: in a namespace without a name.
NAMESPACE = {}
exec("Bare = type('Bare', (), {})", NAMESPACE)
Bare = NAMESPACE["Bare"]
Numbered = type("Numbered", (), {"__module__": 3})

VALUES = {
    "a list as a key": lambda: {HashableList([1]): 1},
    "a dict as a key": lambda: {HashableDict(a=1): 1},
    "a set as a key": lambda: {HashableSet([1]): 1},
    "an array as a key": lambda: {np.zeros(2).view(HashableArray): 1},
    "a list in a tuple as a key": lambda: {(1, HashableList([1])): 1},
    "a list in a set": lambda: {1, HashableList([1])},
    "a list in a frozenset as a key": lambda: {frozenset([HashableList([1])]): 1},
    "two keys of one text": lambda: {Same("a"): 1, Same("a"): 2},
    "a key beside its text": lambda: {"a": 1, Same("a"): 2},
    "two items of one text": lambda: {Same("a"), Same("a")},
    "an array that lies": lambda: np.arange(4.0).view(LyingArray),
    "a large array that lies": lambda: np.arange(4096.0).view(LyingArray),
    "bytes that lie": lambda: LyingBytes(b"abcdef"),
    "a dict that raises": lambda: [1, RaisingDict(a=1), 2],
    "a list that raises": lambda: [1, RaisingList([1]), 2],
    "a class that raises": lambda: [Raising()],
    "a class without a module": lambda: [Bare()],
    "a class whose module is a number": lambda: [Numbered()],
}


class ForeignEnv(gym.Env):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.given = {}

    def give(self, name, where):
        self.given = {where: VALUES[name]()}

    def reset(self, seed=None, options=None):
        return 0, {}

    def step(self, action):
        given, self.given = self.given, {}
        info = {"first": 1, "it": given["info"], "last": 2} if "info" in given else {}
        return given.get("observation", 0), 0.0, False, False, info
