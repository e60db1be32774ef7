"""``StampedEnv``: every byte of its results says which call returned it, so that a stale or torn read shows.

Runs on Python 3.6 and up, with any gym.
"""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

IS_NEW = gym.__name__ == "gymnasium" or tuple(int(part) for part in gym.__version__.split(".")[:2]) >= (0, 26)


class StampedEnv(gym.Env):
    """Two cameras of different sizes, one of them upside down, and a state. The action is a frame too."""

    metadata = {"render_modes": ["rgb_array"], "render.modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, render_mode=None, height=120, width=160):
        self.render_mode = render_mode
        self.shape = (height, width, 3)
        box = gym.spaces.Box(0, 255, self.shape, np.uint8)
        self.observation_space = gym.spaces.Dict(
            top=box,
            wrist=gym.spaces.Box(0, 255, (height // 2, width, 3), np.uint8),
            state=gym.spaces.Box(-np.inf, np.inf, (14,), np.float64),
        )
        self.action_space = box
        self.stamp = 0
        self.kept = []

    def reset(self, *, seed=None, options=None):
        self.kept = []
        return (self.observation(), {}) if IS_NEW else self.observation()

    def step(self, action):
        seen = int(action.min()), int(action.max())
        return self.observation(), float(self.stamp), False, False, {"action": seen}

    def render(self, mode="rgb_array"):
        return self.observation()["top"]

    def observation(self):
        self.stamp += 1
        value = self.stamp % 251
        return {
            "top": np.full(self.shape, value, np.uint8),
            "wrist": np.full((self.shape[0] // 2, *self.shape[1:]), value, np.uint8)[::-1],
            "state": np.full(14, self.stamp, np.float64),
        }

    def keep(self, action):
        """Keep an argument, as a simulator may."""
        self.kept.append(action)
        return len(self.kept)

    def what_was_kept(self):
        """The smallest and the largest byte of each argument that was kept."""
        return [(int(array.min()), int(array.max())) for array in self.kept]
