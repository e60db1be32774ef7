"""An env whose repr and str run code that fails before the first reset, or counts. Any gym or gymnasium, any Python."""

try:
    import gymnasium as gym
except ImportError:
    import gym

USED = []


class UnprintableEnv(gym.Env):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.state = None

    def __repr__(self):
        USED.append("repr")
        return "<env in state %d>" % self.state

    def __str__(self):
        USED.append("str")
        return "%d" % self.state

    def __eq__(self, other):
        USED.append("eq")
        raise RuntimeError("compared")

    def __hash__(self):
        USED.append("hash")
        raise RuntimeError("hashed")

    def __bool__(self):
        USED.append("bool")
        raise RuntimeError("asked whether it is true")

    def __len__(self):
        USED.append("len")
        raise RuntimeError("counted")

    def reset(self, **given):
        self.state = 0
        return 0, {}

    def step(self, action):
        return 0, 0.0, False, False, {}

    def used(self):
        """The special methods that were called so far."""
        return list(USED)
