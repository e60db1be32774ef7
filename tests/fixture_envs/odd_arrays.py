"""Observations in another memory order or of another class in each step. Any gym, Python 3.6 and up."""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


class Subclass(np.ndarray):
    pass


class OddArraysEnv(gym.Env):
    def __init__(self, shape=(3, 4), dtype="float32"):
        self.shape, self.dtype, self.count = tuple(shape), np.dtype(dtype), 0
        self.action_space = gym.spaces.Discrete(4)
        self.observation_space = gym.spaces.Box(0, 1, self.shape, self.dtype.type)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self._value(), {}

    def step(self, action):
        self.count += 1
        return self._value(), float(action), False, False, {}

    def _value(self):
        size = int(np.prod(self.shape))
        value = (np.arange(size).reshape(self.shape) + self.count).astype(self.dtype)
        if self.count % 7 == 1:
            return np.asfortranarray(value)
        if self.count % 7 == 2 and self.shape:
            return np.repeat(value, 2, axis=-1)[..., ::2]
        if self.count % 7 == 3:
            value.flags.writeable = False
        if self.count % 7 == 4:
            return value.view(Subclass)
        if self.count % 7 == 5:
            return value.astype(self.dtype.newbyteorder())
        if self.count % 7 == 6:
            return value.astype("float64")
        return value
