"""Brax's envs in the forms that Brax has for gym: a single one, and one that is a vector env. Python 3.11."""

import gym
from brax import envs
from brax.envs.wrappers.gym import GymWrapper, VectorGymWrapper

NAME = "inverted_pendulum"


def single():
    """It never begins again by itself, so its info holds no state of the physics."""
    return GymWrapper(envs.create(NAME, episode_length=20, auto_reset=False, backend="spring"), seed=3)


def vector(num_envs=3):
    env = envs.create(NAME, episode_length=20, auto_reset=False, batch_size=num_envs, backend="spring")
    return VectorGymWrapper(env, seed=3)


gym.register("Brax-v0", entry_point=single, disable_env_checker=True, order_enforce=False)
