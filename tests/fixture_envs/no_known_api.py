"""Objects that no adapter supports, or not for the requested API: entry points, by name. Python 3.6 and up."""

import numpy as np


class Functional:
    """Its reset takes a key, as Jumanji's did: not a dm_env."""

    def reset(self, key):
        return None

    def step(self, state, action):
        return None

    def observation_spec(self):
        return np.zeros(2)

    def action_spec(self):
        return np.zeros(2)


def of_library(name):
    """An object whose class is in a module of that library."""
    return type("Environment", (), {"__module__": name, "reset": lambda self: None, "step": lambda self: None})()


class OpenSpielLike(Functional):
    """Its specs are dicts of plain numbers, as OpenSpiel's rl_environment has them."""

    __module__ = "open_spiel.python.rl_environment"

    def reset(self):
        return None

    def action_spec(self):
        return {"num_actions": 3, "min": 0, "max": 2, "dtype": int}

    def observation_spec(self):
        return {"info_state": (11,), "legal_actions": (3,)}


class Vectorized:
    """The attributes of a simulator that is itself vectorized."""

    num_envs = 4
    observation_space = action_space = single_observation_space = single_action_space = None

    def reset(self, seed=None, options=None):
        return None, {}

    def step(self, actions):
        return None


def nothing(**kwargs):
    return None


def one_emulator():
    """Like stable-retro: a second emulator in the same process is an error."""
    global _made
    if _made:
        raise RuntimeError("Cannot create multiple emulator instances per process, make sure to call env.close()")
    _made = True
    import gymnasium

    return gymnasium.make("CartPole-v1")


def needs_setuptools():
    import pkg_resources  # noqa: F401

    return


_made = False
