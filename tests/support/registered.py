"""An envs.toml whose ids are registered with Gymnasium for one test.

Knows gym_service.use. Python 3.10 and up.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym

WriteEnvs = Callable[[str], Path]


def entry(name: str, more: str = "", env_id: str = "CartPole-v1") -> str:
    """An entry whose simulator runs in a second process of the test's own interpreter."""
    return f'[envs."{name}"]\npython = {json.dumps(sys.executable)}\nid = "{env_id}"\n{more}\n'


def run_python(code: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **kwargs)  # type: ignore[call-overload]


def play_to_the_end(env: gym.Env) -> tuple[int, bool, bool]:
    """(steps, terminated, truncated) of an episode in which the policy balances the cart for as long as it can."""
    observation, _ = env.reset(seed=0)
    for steps in range(1, 2000):
        angle, speed = observation[2:]
        observation, _, terminated, truncated, _ = env.step(int(angle + 0.4 * speed + 0.03 * observation[1] > 0))
        if terminated or truncated:
            return steps, terminated, truncated
    raise AssertionError("the episode does not end")
