"""A parallel env of three agents and a single env with the same payload, which compute nothing. Python 3.8 and up."""

import gymnasium as gym
import numpy as np

AGENTS = ("agent_0", "agent_1", "agent_2")
SPACE = gym.spaces.Box(-np.inf, np.inf, (18,), np.float32)  # as simple_spread has it
ACTIONS = gym.spaces.Discrete(5)


class Parallel:
    """What a parallel env returns, made once."""

    metadata = {"name": "three_v0"}  # noqa: RUF012
    possible_agents = list(AGENTS)  # noqa: RUF012

    def observation_space(self, agent):
        return SPACE

    def action_space(self, agent):
        return ACTIONS

    def reset(self, seed=None, options=None):
        self.agents = list(AGENTS)
        self.observations = {agent: np.zeros(18, np.float32) for agent in AGENTS}
        return self.observations, {agent: {} for agent in AGENTS}

    def step(self, actions):
        flags = dict.fromkeys(AGENTS, False)
        rewards, infos = dict.fromkeys(AGENTS, -1.5), {agent: {} for agent in AGENTS}
        return self.observations, rewards, flags, dict(flags), infos

    def close(self):
        pass


class Single(gym.Env):
    """The same observations as one Dict."""

    def __init__(self):
        self.observation_space = gym.spaces.Dict(dict.fromkeys(AGENTS, SPACE))
        self.action_space = gym.spaces.Dict(dict.fromkeys(AGENTS, ACTIONS))

    def reset(self, seed=None, options=None):
        self.observations = {agent: np.zeros(18, np.float32) for agent in AGENTS}
        return self.observations, {}

    def step(self, actions):
        return self.observations, -1.5, False, False, {}
