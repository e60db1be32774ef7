"""Envs with faults that Gymnasium's check_env reports, and one without. Gymnasium, any version."""

import gymnasium as gym
import numpy as np


class SoundEnv(gym.Env):
    """An env without faults, but with awkward spaces."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        spaces = gym.spaces
        self.action_space = spaces.Tuple((spaces.Discrete(3, start=-1), spaces.MultiDiscrete([[2, 3], [4, 5]])))
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (64, 64, 3), np.uint8),
                "half": spaces.Box(-1, 1, (), np.float16),
                "sequence": spaces.Sequence(spaces.Discrete(5)),
                "text": spaces.Text(8, charset="abc"),
                "graph": spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(3)),
            }
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation(), {"count": 0}

    def step(self, action):
        return self.observation(), 1.0, False, False, {"count": 1, "action": action}

    def observation(self):
        nodes = self.np_random.random((3, 2)).astype(np.float32)
        return {
            "image": self.np_random.integers(0, 255, (64, 64, 3)).astype(np.uint8),
            "half": np.array(self.np_random.random(), np.float16),
            "sequence": tuple(self.np_random.integers(0, 5, 3)),
            "text": "abcabc",
            "graph": gym.spaces.GraphInstance(nodes, np.array([1, 2]), np.array([[0, 1], [1, 2]])),
        }

    def render(self):
        return "a text" if self.render_mode == "ansi" else np.zeros((8, 8, 3), np.uint8)


class OutsideEnv(SoundEnv):
    """Its observations are not in its space."""

    def observation(self):
        return dict(super().observation(), half=np.array(7, np.float16))


class RandomEnv(SoundEnv):
    """It ignores its seed."""

    def observation(self):
        return dict(super().observation(), half=np.array(np.random.default_rng().random(), np.float16))


class InfoEnv(SoundEnv):
    """Its info is no dict."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed, options=options)[0], ["info"]


for name in ("Sound", "Outside", "Random", "Info"):
    gym.register(id=name + "-v0", entry_point="checked:%sEnv" % name)
