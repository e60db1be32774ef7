"""An env that returns the random numbers that it draws: entry points, by name. Any gym, Python 3.6 and up."""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


class DrawingEnv(gym.Env):
    """Each observation is a draw from ``np_random``."""

    def __init__(self):
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(0, 1, (), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        return self._draw(), 0.0, False, False, {}

    def _draw(self):
        return np.array(self.np_random.random())


class OldDrawingEnv(DrawingEnv):
    """As of gym 0.21."""

    def seed(self, seed=None):
        self.np_random = np.random.RandomState(seed)

    def reset(self):
        return np.array(self.np_random.random_sample())

    def step(self, action):
        return np.array(self.np_random.random_sample()), 0.0, False, {}
