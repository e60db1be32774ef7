"""Envs that return the same object repeatedly, and change it: entry points, by name. Any gym, Python 3.6 and up."""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

SHARED = {}


class ReusingEnv(gym.Env):
    """One info dict, with a dict and an array inside, cleared in reset; on request also one observation.

    ``shared``: all envs of the process share one info dict.
    """

    def __init__(self, shared=False, observation=False, size=3):
        self.action_space = gym.spaces.Discrete(4)
        self.observation_space = gym.spaces.Box(-1000, 1000, (2,), np.float32)
        self.info = SHARED if shared else {}
        self.inner, self.array = {"deep": 0}, np.zeros(size, np.int32)
        self.reuses_observation = observation
        self.buffer = np.zeros(2, np.float32)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        self.info.clear()
        self.inner["deep"] = 0
        self.array[:] = 0
        return self._observation(-1), self.info

    def step(self, action):
        self.steps += 1
        self.inner["deep"] = self.steps + 10 * action
        self.array[:] = self.steps
        self.info.update(
            count=self.steps, action=int(action), inner=self.inner, array=self.array, text="at %d" % self.steps
        )
        return self._observation(action), float(action), self.steps >= 2, False, self.info

    def _observation(self, value):
        self.buffer[:] = value, self.steps
        return self.buffer if self.reuses_observation else self.buffer.copy()


class ListEnv(ReusingEnv):
    """Its info holds one list, which grows."""

    def __init__(self):
        super().__init__()
        self.list = []

    def reset(self, *, seed=None, options=None):
        self.list.clear()
        return super().reset(seed=seed, options=options)

    def step(self, action):
        result = super().step(action)
        self.list.append(self.steps)
        self.info["list"] = self.list
        return result
