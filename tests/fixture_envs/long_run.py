"""``long_run:LongRunEnv``: each step returns another graph, other infos and sometimes an error; for long runs.

Knows gymnasium, numpy. Python 3.8 and up.
"""

import gymnasium as gym
import numpy as np

MOST_NODES = 60
# Each step whose number is a multiple of this raises an error.
ERROR_EVERY = 50
KEYS = 977  # a prime, so that the keys repeat out of phase with everything else


class LongRunEnv(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode
        self.number = 0
        self.action_space = gym.spaces.Discrete(2)
        nodes = gym.spaces.Box(-1e9, 1e9, (3,), np.float32)
        self.observation_space = gym.spaces.Graph(nodes, gym.spaces.Discrete(5))

    def observation(self):
        number = self.number
        nodes = np.full((1 + number % MOST_NODES, 3), number, np.float32)
        count = number % 7
        edges = np.full(count, number % 5, np.int64) if count else None
        links = np.zeros((count, 2), np.int32) if count else None
        return gym.spaces.GraphInstance(nodes, edges, links)

    def reset(self, seed=None, options=None):
        self.number = 0
        return self.observation(), {}

    def step(self, action):
        self.number += 1
        number = self.number
        if number % ERROR_EVERY == 0:
            raise ValueError("step %d fails" % number)
        info = {
            "key %d" % (number % KEYS): number,
            "text": "x" * (number % 301),
            "nested": {"parts": [number, float(number), None, (number % 3,) * (number % 4)]},
        }
        return self.observation(), float(number), False, False, info

    def render(self):
        shape = (16 + self.number * 37 % 200, 16 + self.number * 53 % 300, 3)
        return np.full(shape, self.number % 256, np.uint8)
