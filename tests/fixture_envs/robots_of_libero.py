"""Envs in the form of robosuite's and LIBERO's, without either: entry points, by name. Python 3.6 and up."""

from collections import OrderedDict

import numpy as np


class Lifting:
    """Like robosuite: done at the horizon, success on request, zeros until an observation is forced."""

    def __init__(self, horizon=4, ignore_done=False, seed=None, has_offscreen_renderer=False, succeeds_at=2):
        self.horizon, self.ignore_done, self.seed = horizon, ignore_done, seed
        self.has_offscreen_renderer, self.succeeds_at = has_offscreen_renderer, succeeds_at
        self.control_freq, self.render_camera = 20, ["front"]
        self.rng = np.random.RandomState(seed)
        self.timestep, self.done, self.sim = 0, False, self

    @property
    def action_spec(self):
        return np.array([-1.0, -2.0]), np.array([1.0, 2.0])

    def observation_spec(self):
        return self._get_observations()

    def reset(self):
        self.timestep, self.done = 0, False
        return self._get_observations(force_update=True)

    def step(self, action):
        if self.done:
            raise ValueError("executing action in terminated episode")
        self.timestep += 1
        self.action = action
        self.done = self.timestep >= self.horizon and not self.ignore_done
        return self._get_observations(force_update=True), 0.5, self.done, {}

    def render(self, width, height, camera_name=None):
        """Stands for the method of the simulation: the first line is the bottom one."""
        frame = np.zeros((height, width, 3), np.uint8)
        frame[0] = len(camera_name)
        return frame

    def close(self):
        pass

    def _check_success(self):
        return np.bool_(self.timestep >= self.succeeds_at)

    def _get_observations(self, force_update=False):
        image = np.full((4, 4, 3), self.timestep, np.uint8) if force_update else np.zeros((4, 4, 3))
        noise = np.random.random_sample(2)  # like a corrupter that a user has added to an observation
        parts = [("robot0_eef_pos", noise), ("agentview_image", image), ("count", self.timestep)]
        return OrderedDict(parts)


class OfSuccess(Lifting):
    """Like LIBERO's domains: done means success, whatever the horizon."""

    def seed(self, seed):
        np.random.seed(seed)

    def step(self, action):
        observation, reward, _, info = Lifting.step(self, action)
        return observation, reward, self._check_success(), info


class ControlEnv:
    """Like LIBERO's own class: it holds the env, and has neither bounds nor specs."""

    def __init__(self, **kwargs):
        self.env = OfSuccess(**kwargs)
        del self.env.seed  # robosuite's constructor stores an attribute there, which hides the method

    def reset(self):
        return self.env.reset()

    def step(self, action):
        return self.env.step(action)

    def seed(self, seed):
        self.env.seed(seed)

    def check_success(self):
        return self.env._check_success()

    def set_init_state(self, state):
        return {"state": state}

    def close(self):
        self.env.close()


def seeded(env):
    """A user's wrapper that seeds numpy's global generator."""
    np.random.seed(1)
    return env
