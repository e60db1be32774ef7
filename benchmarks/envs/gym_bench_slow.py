"""A simulator that takes two seconds of the processor's time to import, as those with a physics engine do.

Knows Gymnasium. Runs in the server.
"""

import os
import time

import gymnasium as gym

# Seconds; a test makes it short.
IMPORT_S = float(os.environ.get("GYM_BENCH_IMPORT_S", "2"))

while time.process_time() < IMPORT_S:
    pass

gym.register("Slow-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=500)
