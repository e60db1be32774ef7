"""Envs whose values have a given size: entry points, by name. Gymnasium, any version."""

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


class ManyLeavesEnv(gym.Env):
    """An observation returns the action, or is made of its number; both may have many small leaves, 4000 bytes each."""

    def __init__(self, observed, acted):
        self.observation_space, self.action_space = self._space(observed), self._space(acted)

    def _space(self, leaves):
        return gym.spaces.Dict({"%03d" % at: gym.spaces.Box(-9, 9, (1000,), np.float32) for at in range(leaves)})

    def _observe(self, number):
        return {key: np.full(space.shape, number, space.dtype) for key, space in self.observation_space.spaces.items()}

    def reset(self, seed=None, options=None):
        return self._observe(0), {}

    def step(self, action):
        assert list(action) == list(self.action_space.spaces)
        return self._observe(sum(part.sum() for part in action.values()) / 1000), 0.5, False, False, {}
