"""Envs of dm_env: entry points, by name. Needs only dm_env and numpy; Python 3.6 and up."""

from collections import OrderedDict

import dm_env
import numpy as np
from dm_env import specs


class Counting(dm_env.Environment):
    """Every kind of spec. An episode ends after a given number of steps, with a given discount."""

    def __init__(self, ends_after=3, discount=0.0, seed=None):
        self.ends_after, self.discount, self._rng = ends_after, discount, np.random.RandomState(seed)
        self._count = None

    def observation_spec(self):
        parts = [
            ("z", specs.BoundedArray((2,), np.float32, [-1, -np.inf], 2.0)),
            ("a", specs.Array((), np.float64)),
            ("whole", specs.Array((3,), np.int16)),
            ("flag", specs.Array((1,), bool)),
            ("inner", {"word": specs.StringArray(()), "pair": (specs.Array((1,), np.uint8), specs.DiscreteArray(5))}),
        ]
        return OrderedDict(parts)

    def action_spec(self):
        return specs.DiscreteArray(4, np.int32)

    def reset(self):
        self._count = 0
        return dm_env.restart(self._observe())

    def step(self, action):
        if self._count is None or self._count >= self.ends_after:
            return self.reset()
        self._count += 1
        self.action = action
        if self._count == self.ends_after:
            return dm_env.TimeStep(dm_env.StepType.LAST, np.float32(1), self.discount, self._observe())
        return dm_env.transition(0.0, self._observe(), 0.5)

    def _observe(self):
        inner = {"word": "w%d" % self._count, "pair": (np.array([self._count], np.uint8), np.int32(self._count))}
        parts = [("z", self._rng.uniform(-1, 1, 2).astype(np.float32)), ("a", np.float64(self._count))]
        parts += [("whole", np.arange(3, dtype=np.int16)), ("flag", np.array([True])), ("inner", inner)]
        return OrderedDict(parts)


class Wrapper(dm_env.Environment):
    """A wrapper like dm_control's: it forwards every other attribute."""

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    def observation_spec(self):
        return self._env.observation_spec()

    def action_spec(self):
        return self._env.action_spec()

    def reset(self):
        return self._env.reset()

    def step(self, action):
        return self._env.step(action)


class Unseeded(Counting):
    """Its generator is of numpy's newer kind, and only its constructor seeds it."""

    def __init__(self, random_state=None):
        Counting.__init__(self)
        self._rng = np.random.default_rng(random_state)


class Seeded(Counting):
    """It has a method that seeds it."""

    def seed(self, seed):
        self.given = seed
        self._rng = np.random.RandomState(seed + 1)
