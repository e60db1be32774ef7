"""Large observations of an env that forks in a step, and whose child returns from it later, or exits. Any gym.

Python 3.6 and up.
"""

import ctypes
import os
import sys
import time

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

FORKS, FORKS_AND_EXITS, TAKES_LONG = 20, 22, 23  # the actions
LONG_S = 4.0
OVERWRITTEN = 255


class ForkingImagesEnv(gym.Env):
    """``by`` is "os", whose fork tells Python, or "C", whose fork does not."""

    def __init__(self, by):
        self.action_space = gym.spaces.Discrete(200)
        self.observation_space = gym.spaces.Box(0, 255, (96, 96, 3), np.uint8)
        self._fork = os.fork if by == "os" else ctypes.CDLL(None).fork
        self._child, self._go = 0, -1

    def reset(self, seed=None, options=None):
        return np.zeros((96, 96, 3), np.uint8), {}

    def step(self, action, further=None):
        observation = np.full((96, 96, 3), action, np.uint8)
        if action == FORKS:
            waits, self._go = os.pipe()
            self._child = self._fork()
            if self._child == 0:
                os.read(waits, 1)
                observation[...] = OVERWRITTEN
            os.close(waits)
        elif action == FORKS_AND_EXITS:
            child = self._fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)
        elif action == TAKES_LONG:
            time.sleep(LONG_S)
        return observation, 0.5, False, False, {}

    def let_child_return(self):
        """Let the child return from its step. Returns its exit code; None if there is none."""
        if not self._child:
            return None
        os.write(self._go, b"x")
        os.close(self._go)
        child, self._child = self._child, 0
        return os.WEXITSTATUS(os.waitpid(child, 0)[1])
