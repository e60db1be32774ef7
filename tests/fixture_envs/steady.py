"""``Steady-v0``: each step sleeps for the same time.

``fails``: the constructor, reset or step raises ("make", "reset", "step"), or a step ends the process ("exit").
``actions``: the limits of its actions are those of float64 ("widest"), or their class is this module's own ("own").
Python 3.8 and up.
"""

import os
import time

import gymnasium as gym
import numpy as np


class OwnSpace(gym.Space):
    def __init__(self):
        super().__init__((2,), np.float32)

    def __eq__(self, other):
        return isinstance(other, OwnSpace)

    __hash__ = None

    def sample(self, *args, **kwargs):
        return np.zeros(2, np.float32)

    def contains(self, x):
        return True


class SteadyEnv(gym.Env):
    observation_space = gym.spaces.Box(0, 2**31 - 1, (1,), np.int64)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, ms=0, fails="", actions=""):
        self.ms, self.fails, self.steps = ms, fails, 0
        if actions:
            limits = np.finfo(np.float64)
            self.action_space = OwnSpace() if actions == "own" else gym.spaces.Box(limits.min, limits.max, (1,), float)
        self._check("make")

    def _check(self, name):
        if name == self.fails:
            raise RuntimeError("no %s today\nnor tomorrow" % name)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._check("reset")
        self.steps = 0
        return np.zeros(1, np.int64), {}

    def step(self, action):
        self._check("step")
        if self.fails == "exit":
            os._exit(3)
        time.sleep(self.ms / 1000)
        self.steps += 1
        return np.full(1, self.steps, np.int64), 0.0, False, False, {}


gym.register("Steady-v0", entry_point=SteadyEnv)
