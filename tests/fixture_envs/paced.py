"""``Paced-v0``: an env whose actions set the duration of each step, and which reports when the step was over.

An action is the milliseconds to sleep. The info has ``at_s``, the time on the clock that all processes share, and
``pid``. The kwarg ``side`` makes the observation an image of that size instead of the number of the step. With the
action ``heavy`` the info is too large for a message of 1 MiB.
"""

import os
import time

import gymnasium as gym
import numpy as np


class PacedEnv(gym.Env):
    action_space = gym.spaces.Discrete(100_000)

    def __init__(self, side=0, heavy=-1):
        self.side, self.heavy = side, heavy
        high = 255 if side else 2**31 - 1
        shape, dtype = ((side, side, 3), np.uint8) if side else ((1,), np.int64)
        self.observation_space = gym.spaces.Box(0, high, shape, dtype)
        self.steps = 0

    def _observation(self):
        space = self.observation_space
        return np.full(space.shape, self.steps % 256 if self.side else self.steps, space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        time.sleep((options or {}).get("ms", 0) / 1000)
        self.steps = 0
        return self._observation(), {"seed": seed}

    def step(self, action):
        time.sleep(int(action) / 1000)
        self.steps += 1
        info = {"at_s": time.monotonic(), "pid": os.getpid()}
        if action == self.heavy:
            info["heavy"] = bytes(2**21)
        return self._observation(), float(action), False, False, info


gym.register("Paced-v0", entry_point=PacedEnv)
