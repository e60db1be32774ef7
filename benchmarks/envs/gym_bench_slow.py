"""A simulator whose process has run for two seconds when it is imported, as those with a physics engine have.

Other threads do not count: those of OpenBLAS spin for a while wherever numpy is imported, but not in our server.

Knows Gymnasium. Runs in the server.
"""

import os
import time

import gymnasium as gym

# Seconds; a test makes it short.
IMPORT_S = float(os.environ.get("GYM_BENCH_IMPORT_S", "2"))

while time.thread_time() < IMPORT_S:
    pass

gym.register("Slow-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=500)
