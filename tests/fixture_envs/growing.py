"""``growing:GrowingEnv``: observations and renders whose size changes, and values that cannot cross, under new keys.

Knows gymnasium or gym 0.26, numpy. Python 3.6 and up.
"""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

LEAST, MOST = 5_000, 400_000  # floats in an observation


class GrowingEnv(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode="rgb_array", odd=False):
        self.render_mode = render_mode
        self.odd = odd
        self.number = 0
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Sequence(gym.spaces.Box(-1e9, 1e9, (), np.float32), stack=True)

    def observation(self):
        """A point cloud of unpredictable size. Each number is the number of the step."""
        return np.full(LEAST + self.number * 7919 % (MOST - LEAST), self.number, np.float32)

    def reset(self, seed=None, options=None):
        self.number = 0
        return self.observation(), {}

    def step(self, action):
        self.number += 1
        info = {"odd %d" % self.number: object()} if self.odd else {}
        return self.observation(), float(self.number), False, False, info

    def render(self):
        side = 64 + self.number * 37 % 400
        return np.full((side, side, 3), self.number % 256, np.uint8)
