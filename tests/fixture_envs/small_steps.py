"""Envs whose actions are small, and whose results are too but for LargeEnv: both sides compile their steps.

Each observation is (number of the step, action), int64. A step without a reset counts on from LOST. ``callers`` are the
names of the functions that have called the last step. Gymnasium 1.0 and up.
"""

import os
import sys

import gymnasium as gym
import numpy as np
from gymnasium import spaces

OBSERVATION = spaces.Box(-(2**60), 2**60, (2,), np.int64)
ACTION = spaces.Discrete(2**40)
PROCESS_ID = property(lambda self: os.getpid())  # also right in a server that was forked after the import
LOST = 1000


def callers():
    found, frame = [], sys._getframe(1)
    while frame:
        found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found


class SmallEnv(gym.Env):
    observation_space, action_space = OBSERVATION, ACTION
    process_id, count, resets = PROCESS_ID, LOST, 0

    def reset(self, seed=None, options=None):
        self.count, self.resets, self.reset_by = 0, self.resets + 1, callers()
        return np.array([0, self.resets], np.int64), {}

    def step(self, action):
        self.count, self.callers = self.count + 1, callers()
        return np.array([self.count, action], np.int64), 0.5, False, False, {}


class InfoEnv(SmallEnv):
    """Its infos have the same keys and types in each step."""

    def step(self, action):
        observation, *rest = super().step(action)
        return (observation, *rest[:-1], {"count": self.count, "action": {"half": action / 2, "is": np.int64(action)}})


class LargeEnv(SmallEnv):
    """Its observations lie in shared memory: the number of the step and the action, as often as fits into 16 KiB."""

    observation_space = spaces.Box(-(2**60), 2**60, (2, 1024), np.int64)

    def reset(self, seed=None, options=None):
        self.count = 0
        return np.zeros((2, 1024), np.int64), {}

    def step(self, action):
        observation, *rest = super().step(action)
        return (np.repeat(observation[:, None], 1024, axis=1), *rest)


class SmallVectorEnv(gym.vector.VectorEnv):
    single_observation_space, single_action_space = OBSERVATION, ACTION
    process_id, count = PROCESS_ID, LOST

    def __init__(self, num_envs=3):
        self.num_envs = num_envs
        self.observation_space = gym.vector.utils.batch_space(OBSERVATION, num_envs)
        self.action_space = gym.vector.utils.batch_space(ACTION, num_envs)

    def reset(self, seed=None, options=None):
        self.count = 0
        return np.zeros((self.num_envs, 2), np.int64), {}

    def step(self, actions):
        self.count, self.callers = self.count + 1, callers()
        observations = np.stack([np.full(self.num_envs, self.count), actions], axis=1)
        ended = np.zeros(self.num_envs, np.bool_)
        return observations, np.full(self.num_envs, 0.5), ended, ended, {}


class SmallTeam:
    """A parallel env of PettingZoo's."""

    metadata = {"name": "small_v0", "render_modes": []}  # noqa: RUF012
    render_mode = None
    possible_agents = ("red", "green", "blue")
    process_id, count, agents = PROCESS_ID, LOST, ["red", "green", "blue"]

    def observation_space(self, agent):
        return OBSERVATION

    def action_space(self, agent):
        return ACTION

    def reset(self, seed=None, options=None):
        self.count, self.agents = 0, list(self.possible_agents)
        return {agent: np.zeros(2, np.int64) for agent in self.agents}, {agent: {} for agent in self.agents}

    def step(self, actions):
        self.count, self.callers = self.count + 1, callers()
        observations = {agent: np.array([self.count, actions[agent]], np.int64) for agent in self.agents}
        ended = dict.fromkeys(self.agents, False)
        return observations, dict.fromkeys(self.agents, 0.5), ended, dict(ended), {agent: {} for agent in self.agents}

    def close(self):
        pass
