"""Envs whose observations are large, and whose results are unusual in one way each. Gymnasium 1.0 and up."""

import sys

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SHAPE = (64, 96, 3)
IMAGE = spaces.Box(0, 255, SHAPE, np.uint8)


class ResultsEnv(gym.Env):
    """``kind`` is a function of this file: it gives the result of each step from the step's number.

    ``called`` are the names of the functions that its process has called between the steps 40 and 60.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, kind):
        self._kind = globals()[kind]
        self.observation_space = SPACES.get(kind, IMAGE)
        self._count, self.called = 0, set()

    def reset(self, seed=None, options=None):
        self._count = 0
        return self._kind(0)[0], {}

    def step(self, action):
        self._count += 1
        if self._count == 40:
            sys.setprofile(lambda frame, event, arg: self.called.add(frame.f_code.co_name))
        elif self._count == 60:
            sys.setprofile(None)
        return self._kind(self._count)


def image(number, shape=SHAPE):
    return np.random.default_rng(number).integers(0, 255, shape, np.uint8)


def usual(number):
    return image(number), 0.5 * number, False, False, {}


def map_later(number):
    """A small observation, whose steps are compiled before an info is large."""
    return np.full(2, number), 0.0, False, False, {"map": np.full(5000, number)} if number > 10 else {}


def flags(number):
    """Every combination of types of reward and flags that results have."""
    reward = (float, np.float64, np.float32, int, np.int64, bool)[number % 6](number % 7)
    ends = (True, False, np.True_, np.False_, 0, 1)
    return image(number), reward, ends[number % 5], ends[number // 5 % 6], {}


def infos(number):
    """The same keys in most steps, and other types in some of them."""
    info = {"number": number, "values": np.full(3, number), "late": number > 20}
    if number % 11 == 5:
        info["number"] = str(number)
    return image(number), 1.0, False, False, info


def no_info_at_times(number):
    return image(number), 1.0, False, False, {"lives": number} if number % 3 else {}


def large_info(number):
    return image(number), 1.0, False, False, {"depth": image(number + 1, (64, 96)), "id": number}


def orders(number):
    value = image(number)
    if number % 4 == 1:
        value = np.asfortranarray(value)
    elif number % 4 == 2:
        value = image(number, (64, 192, 3))[:, ::2]
    elif number % 4 == 3:
        value.flags.writeable = False
    return value, 0.0, False, False, {}


def misfits(number):
    """Most values fit the space; the others have another dtype, shape or class."""
    value = image(number)
    if number % 5 == 1:
        value = value.astype(np.float32)
    elif number % 5 == 2:
        value = value[:-1]
    elif number % 5 == 3:
        value = value.tolist()
    return value, 0.0, False, False, {}


REUSED = np.zeros(SHAPE, np.uint8)


def reused(number):
    """The simulator returns one array, and overwrites it."""
    REUSED[...] = number % 251
    return REUSED, 0.0, False, False, {}


def cameras(number):
    state = np.arange(14) + number
    value = {"top": image(number), "wrist": image(number + 1), "state": state.astype(np.float32), "goal": number % 4}
    return value, 1.0, False, False, {}


def ordered(number):
    """Every other dict has another order than the space."""
    value, *rest = cameras(number)
    return (value if number % 2 else dict(reversed(list(value.items()))), *rest)


def many(number):
    """More large arrays than a usual frame names."""
    return tuple(image(number + index) for index in range(6)), 1.0, False, False, {}


def small_and_large(number):
    """One array is too large for the head and too small for a slot."""
    return (image(number), image(number, (13, 1000))), 1.0, False, False, {}


def four_values(number):
    return (image(number), 1.0, False, {}) if number % 4 == 3 else usual(number)


def no_values(number):
    return None if number % 4 == 3 else usual(number)


CAMERAS = {
    "top": IMAGE,
    "wrist": IMAGE,
    "state": spaces.Box(-1e6, 1e6, (14,), np.float32),
    "goal": spaces.Discrete(4),
}
SPACES = {
    "cameras": spaces.Dict(CAMERAS),
    "ordered": spaces.Dict(CAMERAS),
    "many": spaces.Tuple([IMAGE] * 6),
    "map_later": spaces.Box(-(2**60), 2**60, (2,), np.int64),
    "small_and_large": spaces.Tuple([IMAGE, spaces.Box(0, 255, (13, 1000), np.uint8)]),
}
KINDS = [
    "usual", "flags", "infos", "no_info_at_times", "large_info", "orders", "misfits", "reused", "cameras", "ordered",
    "many", "map_later", "small_and_large", "four_values", "no_values",
]  # fmt: skip
