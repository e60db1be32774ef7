"""A wrapper around an env like robosuite's. It keeps, as texts, what the env returned. Python 3.6 and up."""

import importlib.util
import os

_PATH = ("..", "..", "gym_service", "testing", "in_target", "trajectory.py")
_spec = importlib.util.spec_from_file_location("trajectory", os.path.join(os.path.dirname(__file__), *_PATH))
trajectory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trajectory)


class Recorder:
    """Forwards every attribute, as robosuite's own wrappers do."""

    def __init__(self, env):
        self.env, self.recorded = env, []

    def reset(self):
        observation = self.env.reset()
        self.recorded.append(trajectory.text(observation))
        return observation

    def step(self, action):
        result = self.env.step(action)
        self.recorded.append(trajectory.text(list(result[:2])))
        return result

    def __getattr__(self, name):
        return getattr(self.env, name)
