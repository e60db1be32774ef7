"""A wrapper that records, inside the simulator's process, what it returns to gym-service. Gymnasium, any version."""

import importlib.util
import os

import gymnasium as gym

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRAJECTORY = os.path.join(ROOT, "gym_service", "testing", "in_target", "trajectory.py")
spec = importlib.util.spec_from_file_location("trajectory", TRAJECTORY)
trajectory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(trajectory)


class Recorder(gym.Wrapper):
    def __init__(self, env):
        gym.Wrapper.__init__(self, env)
        self.recorded = []

    def reset(self, **given):
        return self.noted(self.env.reset(**given))

    def step(self, action):
        return self.noted(self.env.step(action))

    def render(self):
        return self.noted(self.env.render())

    def noted(self, result):
        self.recorded.append(trajectory.text(result))
        return result
