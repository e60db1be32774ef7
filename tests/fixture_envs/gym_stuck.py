"""A simulator package that registers its ids. Its step reports its process and then never returns from C.

Python 3.10 and up.
"""

import itertools

import gymnasium


class Stuck(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fifo):
        self.fifo = fifo

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        with open(self.fifo, "w") as file:
            file.write("in step\n")
        sum(itertools.repeat(0))  # runs for ever, and holds the GIL


gymnasium.register("gym_stuck/Stuck-v0", Stuck, disable_env_checker=True)
