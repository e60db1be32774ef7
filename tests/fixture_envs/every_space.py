"""An env for each awkward space, as observation and action space. Gymnasium from 1.0, with tests/ on the path."""

import copy

import gymnasium as gym
import numpy as np
from support.spaces import SPACES


class EverySpace(gym.Env):
    """Observations are samples; the info holds the exact action. Episodes end after two to five steps."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    def __init__(self, space, render_mode=None):
        self.render_mode = render_mode
        self.observation_space = copy.deepcopy(SPACES[space])
        self.action_space = gym.spaces.Discrete(3) if space.startswith("empty") else copy.deepcopy(SPACES[space])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps_left = int(self.np_random.integers(2, 6))
        return self.observation_space.sample(), {"options": repr(options), "steps_left": self.steps_left}

    def step(self, action):
        self.steps_left -= 1
        ended, by_time = self.steps_left == 0, bool(self.np_random.integers(2))
        info = {"action": repr(action), "left": {"steps": self.steps_left}}
        if self.steps_left % 2:  # so that the infos of several envs have different masks
            info["odd"] = self.np_random.random(3)
        reward = self.np_random.random()
        return self.observation_space.sample(), reward, ended and not by_time, np.bool_(ended and by_time), info

    def render(self):
        return f"{self.steps_left} left"


gym.register(id="EverySpace-v0", entry_point="every_space:EverySpace", disable_env_checker=True)
