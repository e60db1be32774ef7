"""An env whose infos are of any form: entry point ``infos:InfosEnv``. Python 3.6, any gym."""

import sys

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


def nested(depth):
    value = 1.0
    for _ in range(depth):
        value = {"a": value}
    return value


INFOS = {
    "numbers": lambda number: {"x": np.float64(number), "n": number, "in": {"is": number % 2 == 0, "t": "a"}},
    "other keys": lambda number: {"key %d" % number: number},
    "other types": lambda number: {"x": (number, float(number), np.float32(number), str(number), None)[number % 5]},
    "arrays": lambda number: {"a": np.full(3, number), "b": (np.zeros((number % 3, 2)), np.array(number))},
    "large arrays": lambda number: {"a": np.full((64, 64, 3), number % 256, np.uint8), "n": number},
    "no info": lambda number: {},
    "a list": lambda number: {"l": [number], "n": number},
    "deep": lambda number: {"d": nested(32), "n": number},
    "deepest": lambda number: {"d": nested(90)},
    "wide": lambda number: {"k%d" % key: (number,) for key in range(5000)},
}


class InfosEnv(gym.Env):
    """An action is the name of an info. ``raise_next``: an exception comes while the next result is encoded."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    number = 0
    is_next = False

    def reset(self, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.number += 1
        if self.is_next:
            self.is_next = False
            sys.settrace(raise_in_check)
        return np.zeros(2, np.float32), float(self.number), False, False, INFOS[action](self.number)

    def raise_next(self):
        self.is_next = True


def raise_in_check(frame, event, arg):
    """A trace function: as the handler of a timer that the simulator has left."""
    if frame.f_code.co_name == "check":  # of MessageBound
        sys.settrace(None)
        raise TimeoutError("a timer of the simulator")
