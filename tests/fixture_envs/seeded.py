"""Envs that return the seed that they received: entry points, by name. Any gym, Python 3.6."""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


class SeededEnv(gym.Env):
    """Today's API: it takes any seed, and returns it in the info."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": []}  # noqa: RUF012

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {"seed": seed, "name": type(seed).__name__}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


class StrictEnv(SeededEnv):
    """The same, with the library's own check of seeds."""

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        return super().reset(seed=seed, options=options)


class OldSeededEnv(SeededEnv):
    """The API up to gym 0.21: ``seed()`` takes any seed."""

    taken = None

    def seed(self, seed=None):
        self.taken = seed

    def reset(self):
        return np.zeros(1, np.float32)

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, {"seed": self.taken, "name": type(self.taken).__name__}


class HoldingEnv(SeededEnv):
    """Its info holds the seed in a list, which a vector env keeps unchanged."""

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {"held": [seed]}
