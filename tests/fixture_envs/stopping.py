"""A simulator with a breakpoint in its step. Python 3.7 and up."""

import gymnasium as gym


class StoppingEnv(gym.Env):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def reset(self, seed=None, options=None):
        return 0, {}

    def step(self, action):
        self.steps += 41
        breakpoint()
        return 1, float(self.steps), False, False, {}
