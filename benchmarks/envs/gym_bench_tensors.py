"""A batch of images, of torch or of numpy, from an env that computes nothing. Python 3.6 and up, Gymnasium."""

import gymnasium as gym
import numpy as np

SHAPE = (64, 84, 84, 4)


class Images(gym.Env):
    observation_space = gym.spaces.Box(0, 255, SHAPE, np.uint8)
    action_space = gym.spaces.Box(-1, 1, (64,), np.float32)

    def __init__(self, torch=False):
        self._images = np.zeros(SHAPE, np.uint8)
        if torch:
            self._images = __import__("torch").from_numpy(self._images)

    def reset(self, seed=None, options=None):
        return self._images, {}

    def step(self, action):
        return self._images, 0.0, False, False, {}
