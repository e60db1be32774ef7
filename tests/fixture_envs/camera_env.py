"""``Camera-v0``: one env with everything that real simulators return and that gym-service could lose.

Runs under gym 0.21 up to today's gymnasium, on Python 3.6 and up, rendering included.
"""

import enum
from collections import OrderedDict, namedtuple

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

IS_NEW = gym.__name__ == "gymnasium" or tuple(int(part) for part in gym.__version__.split(".")[:2]) >= (0, 26)
Pose = namedtuple("Pose", "x y")


class Phase(enum.IntEnum):
    APPROACH = 1
    GRASP = 2


class CameraEnv(gym.Env):
    """A state that the actions change, a camera with negative strides, an info with every type."""

    metadata = {"render_modes": ["rgb_array"], "render.modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, render_mode=None, size=96):
        self.render_mode = render_mode
        self.size = size
        self.action_space = gym.spaces.Dict(
            OrderedDict(
                move=gym.spaces.Box(-1.0, 1.0, (7,), np.float32),
                grip=gym.spaces.Discrete(3),
                switches=gym.spaces.MultiBinary(4),
            )
        )
        self.observation_space = gym.spaces.Dict(
            pixels=gym.spaces.Box(0, 255, (size, size, 3), np.uint8),
            state=gym.spaces.Box(-np.inf, np.inf, (7,), np.float64),
        )
        self.random = np.random.RandomState(0)
        self.received = None

    def reset(self, *, seed=None, options=None, return_info=False):
        if seed is not None:
            self.random = np.random.RandomState(seed)
        self.steps_done = 0
        self.state = self.random.standard_normal(7)
        info = {"options": options, "seeded": seed is not None}
        return (self.observation(), info) if IS_NEW or return_info else self.observation()

    def step(self, action):
        self.steps_done += 1
        self.received = OrderedDict((key, repr(type(part))) for key, part in action.items())
        self.state = self.state * 0.9 + np.asarray(action["move"], np.float64) * (1 + int(action["grip"]))
        self.state[int(np.sum(action["switches"]))] += self.random.random_sample()
        is_over = self.random.random_sample() < 0.02
        rewards = (float, np.float64, np.float32, int)
        reward = rewards[self.steps_done % 4](self.state[0])
        if IS_NEW:
            terminated = np.bool_(is_over) if self.steps_done % 5 == 0 else bool(is_over)
            return self.observation(), reward, terminated, False, self.info()
        return self.observation(), reward, bool(is_over), self.info()

    def observation(self):
        """An observation in another order than the space's, sometimes with additional keys."""
        state = self.state.copy()
        if self.steps_done % 7 == 3:
            state[2:5] = np.nan, np.inf, -np.inf
        observation = {"state": state, "pixels": self.image()[::-1, :, ::-1]}
        if self.steps_done % 4 == 1:
            observation["debug"] = np.asfortranarray(state[:6].reshape(2, 3))
        return OrderedDict(observation) if self.steps_done % 6 == 5 else observation

    def image(self):
        return self.random.randint(0, 256, (self.size, self.size, 3)).astype(np.uint8)

    def info(self):
        count = self.steps_done
        return {
            "phase": Phase(1 + count % 2),
            "nothing": None,
            "nested": OrderedDict([("b", {"deep": [1, (2.5, "three"), {4}]}), ("a", Pose(1, 2.0))]),
            "scalars": [np.float32(0.1), np.float16(2), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.int64(7)],
            "texts": ["ü\u0000\U0001f916", np.str_("numpy"), b"\x00\xff", frozenset([1, "x"])],
            "extremes": [float("nan"), float("inf"), -float("inf"), -0.0, 2**100 + count, -(2**63) - 1, 1j, 5e-324],
            "arrays": {
                "empty": np.zeros((0, 3), np.float32),
                "scalar": np.array(count, np.int16),
                "big endian": np.arange(3, dtype=">i4"),
                "texts": np.array(["a", "bcd"]),
                "dates": np.array(["2020-02-29", "NaT"], "M8[D]"),
                "objects": np.array([None, "x", 3], object),
                "half": np.linspace(0, 1, 3000).reshape(2, 1500).T,
            },
            7: "a key that is no text",
            (1, "a"): False,
            "received": self.received,
        }

    def render(self, mode="rgb_array"):
        return np.asfortranarray(self.image())


if not IS_NEW:

    def _seed(self, seed=None):
        self.random = np.random.RandomState(seed)
        return [seed]

    CameraEnv.seed = _seed

# The checker of newer versions refuses an observation with more keys than its space. Real simulators return such.
UNCHECKED = {} if gym.__version__.startswith("0.21") else {"disable_env_checker": True}
gym.register(id="Camera-v0", entry_point="camera_env:CameraEnv", max_episode_steps=60, **UNCHECKED)
