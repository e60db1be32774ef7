"""``Steady-v0``: each step sleeps for the same time. With ``fails`` reset or step raises. Python 3.8 and up."""

import time

import gymnasium as gym
import numpy as np


class SteadyEnv(gym.Env):
    observation_space = gym.spaces.Box(0, 2**31 - 1, (1,), np.int64)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, ms=0, fails=""):
        self.ms, self.fails, self.steps = ms, fails, 0

    def _check(self, name):
        if name == self.fails:
            raise RuntimeError("no %s today" % name)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._check("reset")
        self.steps = 0
        return np.zeros(1, np.int64), {}

    def step(self, action):
        self._check("step")
        time.sleep(self.ms / 1000)
        self.steps += 1
        return np.full(1, self.steps, np.int64), 0.0, False, False, {}


gym.register("Steady-v0", entry_point=SteadyEnv)
