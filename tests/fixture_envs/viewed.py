"""Envs whose render() has some effect, for an observer: entry points, by name. Any gym, Python 3.6 and up.

``make`` says which effect. Each step draws a random number, so that a draw in render() changes the run.
"""

import random
import sys
import warnings

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


RENDERS = []  # not an attribute of the env: those are put back after a render for a viewer


CALLS = [0]
WAITING = ("adaptive_spin.py", "streams.py")


def count_calls():
    """A function for ``setup``: counts the calls of Python functions in this process.

    It does not count those that wait for the client: they depend on how busy the processors are.
    """

    def count(frame, event, argument):
        if event == "call" and not frame.f_code.co_filename.endswith(WAITING):
            CALLS[0] += 1

    sys.setprofile(count)


class ViewedEnv(gym.Env):
    """A picture of 8 x 12. An episode has 10 steps, and each has the reward 1."""

    metadata = {"render_modes": ["rgb_array", "depth_array", "ansi", "human"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, effect="", render_mode=None):
        # A client with the mode "human" would open the window itself.
        self.effect, self.render_mode = effect, "human" if effect == "human" else render_mode
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(0, 1, (3,), np.float64)
        self.shade = 0
        self.kept = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
        self.count = 0
        return self._draw(), {"lap": 0}

    def step(self, action):
        self.count += 1
        if self.effect == "fails" and self.count == 5:
            raise ValueError("the fifth step")
        info = {"lap": self.count, "unprintable": Unprintable(), "position": np.arange(3.0)}
        return self._draw(), 1.0, self.count == 10, False, info

    @property
    def renders(self):
        return len(RENDERS)

    @property
    def calls(self):
        return CALLS[0]

    def render(self):
        RENDERS.append(self.count)
        getattr(self, "_" + self.effect, lambda: None)()
        if self.effect == "text":
            return "no picture"
        if self.render_mode == "ansi":
            return "step %d" % self.count + "\u2588" * 30000 * (self.effect == "long")
        if self.render_mode == "depth_array":
            return np.linspace(0.0, 1.0, 96, dtype=np.float32).reshape(8, 12)
        return np.full((8, 12, 3), (self.count + self.shade) % 256, np.uint8)

    def _draw(self):
        return np.array([self.np_random.random(), random.random(), np.random.random()])

    def _draws(self):
        self.np_random.random()

    def _draws_globally(self):
        np.random.random()
        random.random()

    def _raises(self):
        raise RuntimeError("no camera")

    def _exits(self):
        sys.exit(3)

    def _blinks(self):
        self.shade += 50

    def _keeps(self):
        self.kept.append(self.count)

    def _warns(self):
        warnings.warn("the camera is old", stacklevel=1)


class Unprintable:
    """Nothing may call its ``__repr__``."""

    def __repr__(self):
        raise AssertionError("somebody looked")
