"""``farewell:FarewellEnv``: runs slow code when its process ends. Python 3.6 and up."""

import atexit
import time

try:
    import gymnasium as gym
except ImportError:
    import gym


def write(path, text):
    with open(path, "a") as file:
        file.write(text)


class FarewellEnv(gym.Env):
    def __init__(self, path, seconds):
        self.action_space = self.observation_space = gym.spaces.Discrete(2)
        self.path = path
        atexit.register(self.leave, seconds)

    def leave(self, seconds):
        time.sleep(seconds)
        write(self.path, "left")

    def close(self):
        write(self.path, "closed, ")
