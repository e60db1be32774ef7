"""Small envs generated from a number: spaces, values, results, ends and errors. Any gym, Python 3.6 and up.

``number`` selects the env; assigning it makes another env, with other spaces. The number, the seed and the actions
determine everything, so the env of a number behaves the same in any process and with any library.
"""

import collections
import enum
import random

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

Pair = collections.namedtuple("Pair", ["left", "right"])
DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
ODD_DTYPES = [">i4", ">f8", "<U3", "S4", "<M8[s]", "<m8[ms]"]
BOX_DTYPES = ["uint8", "int16", "int32", "int64", "float16", "float32", "float64"]
SHAPES = [(), (1,), (3,), (0,), (2, 3), (1, 1, 4), (40, 40)]
FLOATS = [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 1e-320, 2.0**70]
INTS = [0, 1, -1, 255, 2**31, -(2**63), 2**63, -(2**200)]
TEXTS = ["", "a text", "naïve ✓", "\ud800", "x" * 5000, "a\0b"]
MAX_DEPTH = 3


class Colour(enum.Enum):
    RED = "red"
    BLUE = (1, 2)
    ALSO_RED = "red"  # noqa: PIE796 - an alias


class Level(enum.IntEnum):
    LOW = -1
    HIGH = 2**40


class Mark(enum.Flag):
    ONE = 1
    TWO = 2
    FOUR = 4


class Text(str):
    """Crosses as the text that it is."""


class Number(int):
    def __int__(self):
        return 99


class Values:
    """Values of all types that cross unchanged, drawn from its own generator."""

    def __init__(self, number, subclasses=True):
        self.draw = random.Random(number)
        self.subclasses = subclasses
        self.shared = []  # objects that several results hold, and that change after they are returned

    def chance(self, share):
        return self.draw.random() < share

    def value(self, depth=0):
        kinds = [self.scalar, self.scalar, self.array]
        if depth < MAX_DEPTH:
            kinds += [self.container, self.container, self.held]
        return self.draw.choice(kinds)(depth)

    def scalar(self, depth=0):
        choose = self.draw.choice
        return choose(
            [
                lambda: None,
                lambda: choose([True, False]),
                lambda: choose(INTS),
                lambda: choose(FLOATS),
                lambda: complex(choose(FLOATS), choose(FLOATS)),
                lambda: choose(TEXTS),
                lambda: choose([b"", b"bytes", b"\0" * 5000]),
                lambda: np.dtype(choose(DTYPES)).type(1),
                lambda: np.float64(choose(FLOATS)),
                lambda: np.str_("numpy's"),
                lambda: np.datetime64("2020-01-01"),
                lambda: choose(list(Colour) + list(Level) + [Mark.ONE, Mark.ONE | Mark.FOUR, Mark(0)]),
                lambda: Pair(choose(INTS), choose(TEXTS)),
                lambda: Text("a subclass") if self.subclasses else "a text",
                lambda: Number(5) if self.subclasses else 5,
            ]
        )()

    def array(self, depth=0):
        dtype = self.draw.choice(DTYPES + ODD_DTYPES)
        shape = self.draw.choice(SHAPES)
        array = np.array(self.numbers(shape)).reshape(shape).astype(dtype)
        order = self.draw.randrange(5)
        if order == 1:
            array = np.asfortranarray(array)
        elif order == 2 and array.ndim:
            array = array[::-1]
        elif order == 3 and array.ndim:
            array = np.repeat(array, 2, axis=0)[::2]
        elif order == 4 and depth < MAX_DEPTH:
            array = np.array([None] * 2, object)
            array[0], array[1] = self.scalar(), self.value(depth + 1)
        return array

    def numbers(self, shape):
        return [self.draw.randrange(100) for _ in range(int(np.prod(shape)))]

    def container(self, depth):
        parts = [self.value(depth + 1) for _ in range(self.draw.randrange(4))]
        kind = self.draw.randrange(6)
        if kind == 0:
            return parts
        if kind == 1:
            return tuple(parts)
        if kind == 2:
            return self.choice_of_sets()
        if kind == 3:
            return Pair(self.value(depth + 1), parts)
        make = collections.OrderedDict if kind == 4 else dict
        keys = self.draw.sample(
            ["a", "b", "z", "", 0, 1.5, None, (1, "x"), b"k", np.int8(3), frozenset([1])], len(parts)
        )
        return make(zip(keys, parts))  # noqa: B905 - strict is of Python 3.10

    def choice_of_sets(self):
        return self.draw.choice([set(), {1, "a", (2, 3)}, frozenset([None, 1.5]), frozenset()])

    def held(self, depth):
        """One object in several places and in several steps, changed in between."""
        if not self.shared or self.chance(0.3):
            self.shared.append(self.draw.choice([[1], {"n": 1}, np.zeros(3), np.zeros((40, 40), np.uint8)]))
        found = self.draw.choice(self.shared)
        if isinstance(found, list):
            found.append(len(found))
        elif isinstance(found, dict):
            found["n"] += 1
        else:
            found += 1
        return found

    def info(self):
        if self.chance(0.3):
            return {}
        names = self.draw.sample(["a", "b", "is_success", "nested", "TimeLimit.steps", "z"], self.draw.randrange(4))
        return {name: self.value() for name in names}

    # -- spaces --------------------------------------------------------------------------------------------------------

    def space(self, depth=0):
        kind = self.draw.randrange(6 if depth < 2 else 4)
        if kind == 0:
            dtype = np.dtype(self.draw.choice(BOX_DTYPES)).type
            low, high = (0, 100) if self.chance(0.7) else (np.zeros((2, 2)), np.full((2, 2), 90))
            shape = self.draw.choice(SHAPES) if isinstance(low, int) else (2, 2)
            return gym.spaces.Box(low, high, shape, dtype)
        if kind == 1:
            return gym.spaces.Discrete(self.draw.randrange(1, 9))
        if kind == 2:
            return gym.spaces.MultiBinary(self.draw.randrange(1, 5))
        if kind == 3:
            return gym.spaces.MultiDiscrete([self.draw.randrange(1, 9) for _ in range(3)])
        parts = [self.space(depth + 1) for _ in range(self.draw.randrange(1, 4))]
        if kind == 4:
            return gym.spaces.Tuple(parts)
        return gym.spaces.Dict(collections.OrderedDict(zip(self.draw.sample(["b", "a", "c"], len(parts)), parts)))  # noqa: B905

    def sample(self, space):
        """A value of the space; sometimes one with another dtype, order, type or key."""
        kind = type(space).__name__
        if self.chance(0.02):
            return self.value(MAX_DEPTH)
        if kind == "Dict":
            items = [(key, self.sample(part)) for key, part in space.spaces.items()]
            if self.chance(0.1):
                items.append(("extra", self.value(MAX_DEPTH)))
            return dict(reversed(items) if self.chance(0.1) else items)
        if kind == "Tuple":
            parts = [self.sample(part) for part in space.spaces]
            return parts if self.chance(0.05) else tuple(parts)
        if kind == "Discrete":
            value = self.draw.randrange(int(space.n))
            return self.draw.choice([np.int64, np.int64, int, np.int32])(value)
        dtype = space.dtype if self.chance(0.9) else self.draw.choice(DTYPES)
        return np.array(self.numbers(space.shape)).reshape(space.shape).astype(dtype)


class GeneratedEnv(gym.Env):
    """Today's API."""

    metadata = {"render_modes": []}  # noqa: RUF012
    render_mode = None
    is_fixed = False  # whether its spaces never change, and its flags have a form that a vector env accepts

    def __init__(self, number=0):
        self.number = number

    @property
    def number(self):
        return self._number

    @number.setter
    def number(self, number):
        self._number = number
        spaces = Values(7 if self.is_fixed else number)
        self.observation_space = spaces.space()
        self.action_space = spaces.space() if not self.is_fixed else gym.spaces.Discrete(2)
        # A subclass crosses as its base, and a vector env makes another column for it.
        self.values = Values(number, not self.is_fixed)
        self.reuses = self.values.chance(0.3)
        self.kept, self.kept_info = None, {}
        self.steps = 0

    def _seeded(self, seed):
        if seed is not None:
            self.values.draw.seed("%d %r" % (self.number, seed))  # the type of the seed counts too
        self.steps = 0

    def _observation(self):
        made = self.values.sample(self.observation_space)
        if self.reuses and isinstance(made, np.ndarray):
            if isinstance(self.kept, np.ndarray) and (self.kept.dtype, self.kept.shape) == (made.dtype, made.shape):
                self.kept[...] = made
                return self.kept
            self.kept = made
        return made

    def _info(self):
        made = self.values.info()
        if self.reuses:
            self.kept_info.clear()
            self.kept_info.update(made)
            return self.kept_info
        return made

    def reset(self, *, seed=None, options=None):
        self._seeded(seed)
        result = self._observation(), self._info()
        if self.is_fixed or self.values.chance(0.9):
            return result
        return self.values.draw.choice([list(result), (result[0], None), result[0], (*result, 1), None])

    def step(self, action):
        self.steps += 1
        choose, chance = self.values.draw.choice, self.values.chance
        if chance(0.01):
            raise choose([ValueError, KeyError, ZeroDivisionError, RuntimeError])("step %d is bad" % self.steps)
        flag = choose([bool, bool, np.bool_]) if self.is_fixed or chance(0.95) else choose([int, str, np.array, list])
        ends = [chance(0.15), chance(0.1)]
        ends = [flag([end] if flag is list else end) for end in ends]
        return self._form((self._observation(), self._reward(), *ends, self._info()))

    def _reward(self):
        if self.is_fixed or self.values.chance(0.9):
            return self.values.draw.choice([1.0, 2, np.float32(0.5), np.float64(-0.0), np.int64(3), True])
        return self.values.value()

    def _form(self, result):
        if self.is_fixed or self.values.chance(0.95):
            return result
        return self.values.draw.choice([list(result), result[:3], None, (*result[:2], *result[3:]), (*result, 1)])


class FixedEnv(GeneratedEnv):
    """For vector envs: its spaces do not depend on its number."""

    is_fixed = True


class OldGeneratedEnv(GeneratedEnv):
    """Up to gym 0.21."""

    def seed(self, seed=None):
        self._seeded(seed)

    def reset(self):
        self.steps = 0
        observation = self._observation()
        while isinstance(observation, tuple) and type(self.observation_space).__name__ != "Tuple":
            observation = self._observation()  # whether a pair outside the space is an observation is unknown
        return observation

    def _form(self, result):
        observation, reward, terminated, _, info = result
        if self.values.chance(0.3):
            info["TimeLimit.truncated"] = self.values.draw.choice([bool, np.bool_, int])(self.values.chance(0.5))
        if self.values.chance(0.1):
            terminated = self.values.draw.choice(
                [[False, True], np.array([True]), np.array([False, True]), {"a": True}]
            )
        return observation, reward, terminated, info


class AskedGeneratedEnv(OldGeneratedEnv):
    """gym 0.22 to 0.25."""

    def reset(self, *, seed=None, return_info=False, options=None):
        self._seeded(seed)
        return (self._observation(), self._info()) if return_info else self._observation()


class PlainGeneratedEnv(GeneratedEnv):
    """A small env of today that takes no options."""

    def reset(self, seed=None):
        self._seeded(seed)
        return self._observation(), self._info()

    def _form(self, result):
        return result  # any other form is refused: docs/conversions.md


class Noting(gym.Wrapper):
    """A wrapper on the simulator's side."""

    def step(self, action):
        result = self.env.step(action)
        if isinstance(result, tuple) and isinstance(result[-1], dict):
            result[-1]["noted"] = True
        return result
