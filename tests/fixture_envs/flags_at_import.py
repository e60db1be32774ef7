"""A simulator that parses the command line at import, with absl and with tyro. Gymnasium, Python 3.10."""

import sys

import gymnasium as gym
import numpy as np
import tyro
from absl import app, flags

LEVEL = flags.DEFINE_integer("level", 1, "the level")
ARGUMENTS = list(sys.argv)


def parsed(size: int = 2) -> int:
    return size


SIZE = tyro.cli(parsed, args=[one for one in sys.argv[1:] if one.startswith("--size")])
try:
    app.run(lambda argv: None, argv=[one for one in sys.argv if not one.startswith("--size")])
except SystemExit as ended:
    if ended.code:
        raise


class FlagsEnv(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    arguments, size, level = ARGUMENTS, SIZE, LEVEL.value

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}
