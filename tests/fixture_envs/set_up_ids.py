"""Registers the simulator of set_up.py, for servers that make only ids. Python 3.8 and up."""

import gymnasium

gymnasium.register("SetUp-v0", "set_up:NestedEnv")
