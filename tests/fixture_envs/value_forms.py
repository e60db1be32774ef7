"""Values that cross with their class or own type, and the reads of an env. Any gym or gymnasium, any Python.

Each step returns the next of VALUES in its info; every fourth step ends the episode.
"""

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


class Phase(enum.IntEnum):
    """Like the one in nle's infos."""

    RUNNING = 0
    DONE = 2
    ABORTED = 1
    OVER = 2


class Mood(enum.Enum):
    CALM = "calm"
    WILD = (1, 2.5)
    ODD = None
    QUIET = "calm"  # noqa: PIE796 - an alias


class Unit(str, enum.Enum):
    METRE = "m"


class Share(float, enum.Enum):
    HALF = 0.5


class Code(bytes, enum.Enum):
    """The value of a member differs from its bytes."""

    def __new__(cls, number, label):
        member = bytes.__new__(cls, [number])
        member._value_ = label
        return member

    A = (1, "first")
    B = (2, "second")


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3
    NONE = 0


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


class Outer:
    """A class whose inner class has a qualified name of two parts."""

    class Inner(enum.Enum):  # noqa: D106
        A = Mood.WILD


Odd = enum.Enum("Odd", {"a b": 1, "for": 2, "é": 3})
Text = getattr(enum, "StrEnum", None)
Text = Text("Text", {"ONE": "one"}, module=__name__) if Text else Unit
Point = collections.namedtuple("Point", "x y")
Renamed = collections.namedtuple("Renamed", ["x", "for", "x"], rename=True)


class Corner(Point):
    def area(self):
        return self.x * self.y


class Level(int):
    """Its text shows another number than its value."""

    def __int__(self):
        return -1

    def __index__(self):
        return -1


class Degrees(float):
    def __float__(self):
        return -1.0


class Word(str):
    def __str__(self):
        return "no"


UTC = datetime.timezone.utc
VALUES = {
    "an IntEnum": Phase.DONE,
    "an alias": Phase.OVER,
    "an Enum": Mood.CALM,
    "an Enum of tuples": Mood.WILD,
    "an Enum of None": Mood.ODD,
    "a text Enum": Unit.METRE,
    "a StrEnum": Text("one") if Text is not Unit else Unit.METRE,
    "a float Enum": Share.HALF,
    "a bytes Enum": Code.B,
    "a Flag": Access.READ,
    "a named combination": Access.READ | Access.WRITE,
    "no flag": Access.NONE,
    "an IntFlag": Bits.TWO,
    "an unnamed combination": Bits.ONE | Bits.TWO,
    "unknown flags": Bits.ONE | 8,
    "all other flags": ~Bits.ONE,
    "a nested class": Outer.Inner.A,
    "odd names": list(Odd),
    "an Enum class": Phase,
    "members as keys": {Phase.DONE: 1, Mood.CALM: {Mood.WILD: [Phase.RUNNING]}},
    "members in sets": [{Phase.DONE}, frozenset([Mood.CALM])],
    "members in an array": np.array([Mood.CALM, Phase.DONE, None], object),
    "many members": [Phase.DONE, Phase.RUNNING] * 20,
    "a named tuple": Point(1, [2.5]),
    "a named tuple of members": Point(Mood.CALM, Point(0, None)),
    "a named tuple with numbers": Renamed(1, 2, 3),
    "a named tuple of one's own": Corner(2, 3),
    "named tuples as keys": {Point(1, 2): Point(3, 4)},
    "an int that lies": [Level(7), Level(2**70)],
    "a float that lies": Degrees(1.5),
    "a text that lies": Word("yes"),
    "a deque": collections.deque([1, Mood.CALM], 3),
    "a deque without a bound": collections.deque(),
    "a bytearray": bytearray(b"ab"),
    "a range": range(1, 9, 3),
    "a slice": slice(None, 2, -1),
    "a complex": 1 + 2j,
    "a frozenset": frozenset([1, "a"]),
    "a date": datetime.date(2026, 1, 2),
    "a time": datetime.time(1, 2, 3),
    "a datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    "a datetime of no zone": datetime.datetime(2026, 1, 2, fold=1),
    "a timedelta": datetime.timedelta(-1, 2, 3),
    "a time zone": datetime.timezone(datetime.timedelta(hours=-3), "X"),
    "a Decimal": [decimal.Decimal("1.10"), decimal.Decimal("-Infinity")],
    "a Fraction": fractions.Fraction(-1, 3),
    "a UUID": uuid.UUID(int=5),
    "a Path": [pathlib.Path("/a/b"), pathlib.PurePosixPath("c"), pathlib.PureWindowsPath("d")],
    "a Box": gym.spaces.Box(-1, 1, (2,), np.float32),
    "spaces": [gym.spaces.Discrete(3), gym.spaces.Dict({"a": gym.spaces.MultiBinary(2)})],
}


class ValuesEnv(gym.Env):
    metadata = {"phase": Phase.DONE, "render_modes": []}  # noqa: RUF012
    observation_space = gym.spaces.Discrete(100)
    action_space = gym.spaces.Discrete(100)
    reward_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    single_observation_space = gym.spaces.Discrete(4)
    actions = Phase
    moods = Mood
    access = Access

    def __init__(self):
        self.number = 0
        self.last = self.kept = None

    def observation_space_of(self, agent):
        return gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Box(0, 255, (agent, 2), np.uint8)])

    def reset(self, seed=None, options=None):
        return 0, {"phase": Phase.RUNNING}

    def step(self, action):
        self.last = action
        value = list(VALUES.values())[self.number % len(VALUES)]
        self.number += 1
        return self.number % 100, 0.0, self.number % 4 == 0, False, {"it": value, "phase": Phase.DONE}

    def is_done(self, phase):
        """Whether it is the same object as the member of its own class."""
        return phase is Phase.DONE

    def is_calm(self, mood):
        return mood is Mood.CALM

    def contains(self, space, value):
        """Whether the received space is one of its own library, and contains the value."""
        return isinstance(space, gym.Space) and space.contains(value)


# For a vector env's info: all except values with a length, and subclasses of numbers, which arrive as plain numbers.
IN_VECTORS = ("an IntEnum", "an Enum", "a text Enum", "a Flag", "an IntFlag", "a named tuple", "a Decimal", "a date")


class VectorValuesEnv(ValuesEnv):
    """Its values appear and disappear, so that a vector env fills the gaps."""

    def step(self, action):
        self.number += 1
        given = {name: VALUES[name] for name in IN_VECTORS}
        info = dict(given, inner=given) if action else {"other": self.number}
        return 0, 0.0, self.number % 3 == 0, False, info
