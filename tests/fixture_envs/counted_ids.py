"""Registers ``Counted-v0`` with a string, so that importing this does not import the simulator. Python 3.6 and up."""

try:
    import gymnasium as gym
except ImportError:
    import gym

gym.register(id="Counted-v0", entry_point="counted:CountedEnv")
