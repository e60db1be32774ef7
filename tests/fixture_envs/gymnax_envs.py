"""gymnax's envs in gymnax's forms for Gymnasium: a single env, and a vector env. Python 3.11."""

import gymnasium as gym
import gymnax
from gymnax.wrappers.gym import GymnaxToGymWrapper, GymnaxToVectorGymWrapper


def single(name="CartPole-v1"):
    return GymnaxToGymWrapper(*gymnax.make(name))


def vector(name="CartPole-v1", num_envs=3):
    env, params = gymnax.make(name)
    return GymnaxToVectorGymWrapper(env, num_envs, params)


gym.register("Gymnax-v0", entry_point=single, disable_env_checker=True, order_enforce=False)
