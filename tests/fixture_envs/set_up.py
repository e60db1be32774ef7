"""A simulator that reports the set-up of its process: variables, folder, limits, calls. Python 3.6 and up."""

import os
import resource
import sys

try:
    import gymnasium as gym
except ImportError:
    import gym

CALLS = []


def prepare():
    """An entry names this function in ``setup``; it prepares a module, which is imported by then."""
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
        """The working directory, the limit of open files, and the entries of sys.path after the standard library."""
        return [os.getcwd(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], sys.argv]


CONFIG = {"size": 3}


class Nested:
    """An object inside an env, with another object inside."""

    limit = 7
    module = os

    def __init__(self):
        self.data = [1, 2]

    def double(self, number):
        return 2 * number


class NestedEnv(SetUpEnv):
    """An env with objects inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.sim = Nested()
        self._private = "private"

    def is_the_config(self):
        return self.given["cfg"] is CONFIG, self.given.get("more")

    def _secret(self, number):
        return number + 1

    def seed(self, seed):
        self.sim.data = [seed]
        return [seed]


class Scaled(gym.Wrapper):
    def __init__(self, env, by=1, cfg=None):
        super().__init__(env)
        self.by, self.cfg = by, cfg

    def scale(self):
        return self.by, self.cfg is CONFIG


class ToldEnv(SetUpEnv):
    """Returns with each reset the arguments that it received."""

    def reset(self, seed=None, options=None):
        return 0, {"told": [seed, options]}


class PrivateEnv(SetUpEnv):
    """Has private names that the env of the client has too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._target, self._layout, self._spec = "target", "layout", "spec"
        self.object = kwargs.get("object")

    def _call(self):
        return "called"

    def getattr_recursive(self, name):
        return getattr(self, name)

    callmethod = getattr_depth_check = getattr_recursive
