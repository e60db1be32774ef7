"""Envs written for older APIs: entry points, by name. Gym 0.21 and up, Python 3.6 and up."""

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


class OlderEnv(gym.Env):
    """As in gym 0.21, and LIBERO's under 0.25: reset() takes nothing, seed() seeds, step() returns four values."""

    metadata = {"render.modes": ["rgb_array", "ansi"], "video.frames_per_second": 7}  # noqa: RUF012

    def __init__(self, ends_after=3, by_the_clock=False):
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.ends_after, self.by_the_clock = ends_after, by_the_clock
        self.seeds = []
        self.random = np.random.RandomState(0)

    def seed(self, seed=None):
        self.seeds.append(seed)
        self.random = np.random.RandomState(seed)
        return [seed]

    def reset(self):
        self.steps_done = 0
        return self.random.random_sample(2)

    def step(self, action):
        self.steps_done += 1
        done = self.steps_done >= self.ends_after
        info = {"TimeLimit.truncated": True} if done and self.by_the_clock else {}
        return self.random.random_sample(2), 1.0, done, info

    def render(self, mode="human"):
        return "as %s" % mode


def made_of_old(ends_after=3):
    return OlderEnv(ends_after)


class BetweenEnv(OlderEnv):
    """As in gym 0.22 to 0.25: reset() takes a seed and options, and returns an info on request."""

    def reset(self, *, seed=None, return_info=False, options=None):
        if seed is not None:
            self.random = np.random.RandomState(seed)
        observation = super().reset()
        return (observation, {"options": options}) if return_info else observation


class NoReturnInfoEnv(OlderEnv):
    """As in gym 0.22 to 0.25, but its reset() takes a seed and options as today, and returns only the observation."""

    def __init__(self):
        super().__init__()
        self.options = []

    def reset(self, *, seed=None, options=None):
        self.options.append(options)
        if seed is not None:
            self.random = np.random.RandomState(seed)
        return super().reset()


class SeedOnlyEnv(OlderEnv):
    """As in gym 0.22 to 0.25, with a reset() that takes a seed and nothing else."""

    def reset(self, seed=None):
        if seed is not None:
            self.random = np.random.RandomState(seed)
        return super().reset()


class AnythingEnv(OlderEnv):
    """Its reset() takes any arguments."""

    def reset(self, **given):
        return super().reset()


class ClaimingEnv(OlderEnv):
    """Its own spec states a limit that nothing applies."""

    def __init__(self):
        super().__init__()
        self.spec = gym.envs.registration.EnvSpec("Claiming-v0", entry_point="older:ClaimingEnv", max_episode_steps=100)


class BareEnv:
    """Has the methods of an env but derives from no class, and returns no info at reset."""

    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def reset(self, seed=None):
        return np.zeros(1)

    def step(self, action):
        return np.ones(1), 0.5, True, {}

    def close(self):
        pass


class DemandingEnv(OlderEnv):
    """Today's API. Its reset() requires seed and options: Gymnasium's wrappers and vector envs always pass both."""

    def reset(self, seed, options):
        self.steps_done = 0
        return np.zeros(2), {"seed": seed, "options": options}


class Modern(gym.Wrapper):
    """A user's own wrapper that converts an old env to today's API."""

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.env.unwrapped.seed(seed)
        return self.env.unwrapped.reset(), {"options": options}
