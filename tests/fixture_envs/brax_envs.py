"""Brax's envs in Brax's forms for gym: a single env, and a vector env. Python 3.11."""

import gym
from brax import envs
from brax.envs.wrappers.gym import GymWrapper, VectorGymWrapper

NAME = "inverted_pendulum"


def single():
    """It has no autoreset, so its info holds no state of the physics."""
    return GymWrapper(envs.create(NAME, episode_length=20, auto_reset=False, backend="spring"), seed=3)


def vector(num_envs=3):
    env = envs.create(NAME, episode_length=20, auto_reset=False, batch_size=num_envs, backend="spring")
    return VectorGymWrapper(env, seed=3)


gym.register("Brax-v0", entry_point=single, disable_env_checker=True, order_enforce=False)
