"""A simulator that tells how its process was set up: variables, working directory, limits, calls. Python 3.6 and up."""

import os
import resource
import sys

try:
    import gymnasium as gym
except ImportError:
    import gym

CALLS = []


def prepare():
    """What an entry names in ``setup``; the module that it prepares is imported."""
    CALLS.append("prepare")


def fail():
    raise RuntimeError("this machine has no licence")


class SetUpEnv(gym.Env):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, **kwargs):
        self.given = kwargs
        self.calls_before = list(CALLS)

    def reset(self, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 0, 0.0, False, False, {}

    def variables(self, *names):
        return [os.environ.get(name) for name in names]

    def all_variables(self):
        return sorted(os.environ)

    def facts(self):
        """The working directory, the limit of open files, and how sys.path begins after the standard library."""
        return [os.getcwd(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], sys.argv]
