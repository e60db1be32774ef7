"""Envs whose spaces, metadata and render mode change while they run: entry points, by name. Any gym, Python 3.6."""

import time

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

box, discrete = gym.spaces.Box, gym.spaces.Discrete


class ChangingEnv(gym.Env):
    """In highway-env, ``configure(size)`` takes effect at reset(). Here either method makes the change."""

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, late=False, render_mode=None, has_infos=True):
        self.render_mode, self.has_infos = render_mode, has_infos
        self.size = 2
        self.observation_space = self.action_space = None
        if not late:
            self._make_spaces()

    def _make_spaces(self):
        self.observation_space = box(-1, 1, (self.size,), np.float32)
        self.action_space = discrete(self.size)

    def configure(self, size, at_once=False):
        self.size = size
        if at_once:
            self._make_spaces()

    def configure_slowly(self, size, slow_s):
        self.configure(size, at_once=True)
        time.sleep(slow_s)

    def make_impossible(self):
        """Set a space that no gymnasium can make, but old gyms can."""
        self.action_space = discrete(2)
        self.action_space.n = np.int64(0)

    def change_in_place(self, low):
        self.observation_space.low[:] = low

    def change_and_raise(self, size):
        self.configure(size, at_once=True)
        raise ValueError("but it has changed")

    def reset(self, *, seed=None, options=None):
        if self.observation_space is None or self.observation_space.shape != (self.size,):
            self._make_spaces()
        return np.full(self.size, 0.5, np.float32), {}

    def step(self, action):
        info = {"n": int(self.action_space.n)} if self.has_infos else {}
        return np.full(self.size, float(action), np.float32), 1.0, False, False, info

    def render(self):
        return self.render_mode
