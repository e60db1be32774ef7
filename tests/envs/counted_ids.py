"""Registers ``Counted``, by a string: whoever imports this has not imported the simulator. Python 3.6 and up."""

try:
    import gymnasium as gym
except ImportError:
    import gym

gym.register(id="Counted", entry_point="counted:CountedEnv")
