"""Envs whose reset() and step() return what a test names: entry points, by name. Any gym, Python 3.6 and up.

Tests name the results, so that both sides of a comparison can make them. Each API has its class: ``TodayEnv`` takes
seed and options, ``OldEnv`` is for gym up to 0.21, ``AskedEnv`` for gym 0.22 to 0.25, and ``PlainEnv`` fits no API: its
reset() takes nothing or a seed, as in many small envs.
"""

import collections

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

CLOCK = {"TimeLimit.truncated": True}
FIVE = collections.namedtuple("FIVE", "observation reward terminated truncated info")


class OddInfo(dict):
    """An info whose get() must not be called."""

    def get(self, *args):
        raise RuntimeError("nobody asked")


def observation():
    return np.array([0.5, -0.5], np.float32)


# done, and the info beside it.
DONES = {
    "False": lambda: (False, {}),
    "True": lambda: (True, {}),
    "True by the clock": lambda: (True, dict(CLOCK)),
    "False by the clock": lambda: (False, dict(CLOCK)),
    "numpy False": lambda: (np.bool_(False), {}),
    "numpy True": lambda: (np.bool_(True), {"a": 1}),
    "numpy True by the clock": lambda: (np.bool_(True), dict(CLOCK)),
    "an array of one": lambda: (np.array([True]), {}),
    "an array of one by the clock": lambda: (np.array([[1.0]]), dict(CLOCK)),
    "no dimension": lambda: (np.array(False), {}),
    "two in a list": lambda: ([False, False], {}),
    "two in a list by the clock": lambda: ([True, True], dict(CLOCK)),
    "two in an array": lambda: (np.array([False, True]), {"n": [1]}),
    "two in a dict": lambda: ({"a": False, "b": True}, dict(CLOCK)),
    "none in a list": lambda: ([], {}),
    "None": lambda: (None, {}),
    "an int": lambda: (1, {}),
    "a text": lambda: ("no", {}),
    "an info that is None": lambda: (True, None),
    "an info that is a list": lambda: (True, [{"a": 1}, {}]),
    "an info that is a text": lambda: (False, "TimeLimit.truncated"),
    "an info with a get of its own": lambda: (True, OddInfo(CLOCK)),
    "two clocks": lambda: (True, {"TimeLimit.truncated": np.array([True, False])}),
    "a numpy clock": lambda: (True, {"TimeLimit.truncated": np.bool_(True)}),
    "a clock that is None": lambda: (True, {"TimeLimit.truncated": None}),
}
RESETS = {
    "a pair": lambda: (observation(), {"a": 1}),
    "a pair with None": lambda: (observation(), None),
    "a pair with a list": lambda: (observation(), [1]),
    "a list of two": lambda: [observation(), {"a": 1}],
    "an observation": observation,
    "an observation of two floats": lambda: [0.5, -0.5],
    "None": lambda: None,
    "nothing": lambda: (),
    "three": lambda: (observation(), {}, 1),
    "a text": lambda: "ab",
    "a dict": lambda: {"x": observation()},
}
STEPS = {
    "five": lambda: (observation(), 1.0, False, False, {"a": 1}),
    "a list of five": lambda: [observation(), 1.0, False, False, {"a": 1}],
    "five by name": lambda: FIVE(observation(), 1.0, False, False, {"a": 1}),
    "four": lambda: (observation(), 1.0, False, {"a": 1}),
    "a list of four": lambda: [observation(), 1.0, False, {"a": 1}],
    "three": lambda: (observation(), 1.0, False),
    "six": lambda: (observation(), 1.0, False, False, {}, None),
    "None": lambda: None,
    "a text of five": lambda: "abcde",
    "an observation": observation,
    "five without an info": lambda: (observation(), 1.0, False, False, None),
    "five with odd flags": lambda: (observation(), [1.0, 2.0], [False, True], np.array([False, False]), []),
}


class OddEnv(gym.Env):
    """``reset``, ``step`` and ``done`` name the values to return."""

    def __init__(self, reset="a pair", step="five", done=None):
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.returned = reset, step, done
        self.seeds = []

    def _reset(self):
        return RESETS[self.returned[0]]()

    def step(self, action):
        if self.returned[2] is None:
            return STEPS[self.returned[1]]()
        done, info = DONES[self.returned[2]]()
        return observation(), 1.0, done, info

    def close(self):
        pass


class TodayEnv(OddEnv):
    """Today's API."""

    def reset(self, *, seed=None, options=None):
        return self._reset()


class OldEnv(OddEnv):
    """The API of gym up to 0.21."""

    metadata = {"render.modes": ["ansi"]}  # noqa: RUF012

    def reset(self):
        return self._reset()

    def seed(self, seed=None):
        self.seeds.append(seed)

    def render(self, mode="human"):
        return "as %s" % mode


class AskedEnv(OddEnv):
    """The API of gym 0.22 to 0.25."""

    def reset(self, *, seed=None, return_info=False, options=None):
        return self._reset() if return_info else observation()


class PlainEnv(OddEnv):
    """No known API: a small env that does not need options."""

    def reset(self, seed=None):
        return self._reset()


class PairEnv(OldEnv):
    """The old API, with an observation that is a pair of a value and a dict."""

    def __init__(self, outside=False):
        super().__init__()
        inside = gym.spaces.Dict({"x": gym.spaces.Box(-1, 1, (2,), np.float32)})
        self.observation_space = gym.spaces.Tuple((gym.spaces.Discrete(3), inside))
        self.outside = outside

    def reset(self):
        return (1, {"x": observation()}) if not self.outside else ("a text", {"y": observation()})

    def step(self, action):
        return self.reset(), 1.0, False, {}


class BareSpacesEnv(gym.Env):
    """A class without its own __init__: the signature of object's seems to take anything."""

    metadata = {"render.modes": ["ansi"], "render_modes": ["ansi"]}  # noqa: RUF012
    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self):
        return observation()

    def step(self, action):
        return observation(), 1.0, False, {}

    def render(self, mode="human"):
        return "as %s" % mode

    def close(self):
        pass


class ModelessEnv(TodayEnv):
    """Today's API, made without a render mode; its render() takes none either."""

    def render(self):
        return "as ever"


class UnseededEnv(OddEnv):
    """An env that only its constructor seeds."""

    def __init__(self, rand_seed=0):
        super().__init__()

    def reset(self):
        return observation()


class SeedlessEnv(UnseededEnv):
    """Like procgen's env: its seed() takes no seed."""

    def seed(self):
        raise AssertionError("it was asked to seed itself with nothing")


class RefusingEnv(OddEnv):
    """Its reset() has a seed, and refuses to take one."""

    def reset(self, seed=None):
        if seed is not None:
            raise NotImplementedError("seeds are not supported")
        return observation()


class BrokenEnv(OddEnv):
    """It cannot be reset."""

    def reset(self, seed=None):
        raise ValueError("there is no scene")


class Failure:
    """A false array-like without dimensions, like those of jax and torch."""

    def __bool__(self):
        return False


class FailingEnv(TodayEnv):
    """Its success is an object that only its own process can interpret."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def step(self, action):
        return observation(), 0.0, False, False, {"is_success": Failure()}


gym.register("Odd-v0", entry_point="odd_forms:OldEnv", max_episode_steps=3)
gym.register("BareSpaces-v0", entry_point="odd_forms:BareSpacesEnv")
