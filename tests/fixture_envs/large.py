"""An env whose observation has a given size. Gymnasium, any version."""

import resource

import gymnasium as gym
import numpy as np

MIB = 2**20


class LargeEnv(gym.Env):
    action_space = gym.spaces.Discrete(2)

    def __init__(self, size_mib):
        self.observation_space = gym.spaces.Box(0, 255, (size_mib, MIB), np.uint8)
        self.count = 0

    def observe(self):
        rows = (np.arange(self.observation_space.shape[0]) + self.count) % 256
        return np.broadcast_to(rows[:, None], self.observation_space.shape).astype(np.uint8)

    def reset(self, seed=None, options=None):
        self.count = 0
        return self.observe(), {}

    def step(self, action):
        self.count += 1
        return self.observe(), 0.0, False, False, {}

    def give(self, size_bytes):
        return np.ones(size_bytes, np.uint8)  # zeros would not use real memory

    def take(self, array):
        return array.nbytes

    def memory_mib(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
