"""Plays the same actions on a RemoteVectorEnv and on Gymnasium's SyncVectorEnv.

Knows gym_service.make_vec, and the envs of tests/fixture_envs in this process. Python 3.10 and Gymnasium 1.4, and up: a
module that imports this one at its top is skipped below that.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

if tuple(map(int, gym.__version__.split(".")[:2])) < (1, 4):
    pytest.skip("vector envs need Gymnasium 1.4 on this side", allow_module_level=True)

from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import gym_service
from gym_service import RemoteVectorEnv
from support.crossing import crossed
from support.paths import ENVS, TESTS

PYTHONPATH = [str(ENVS), str(TESTS)]


class Crossed(gym.Wrapper[Any, Any, Any, Any]):
    """Returns the env's values as they arrive over the wire, where an IntEnum becomes an int."""

    def reset(self, **given: Any) -> Any:
        return tuple(crossed(list(self.env.reset(**given))))

    def step(self, action: Any) -> Any:
        return tuple(crossed(list(self.env.step(action))))


@contextmanager
def remote(env_id: str, num_envs: int = 3, module: str = "", **given: Any) -> Iterator[RemoteVectorEnv]:
    """The vector env in the test's own interpreter, so that only gym-service can make a difference."""
    keys = {"python": sys.executable, "pythonpath": PYTHONPATH, "imports": [module] if module else []}
    envs = gym_service.make_vec(env_id, num_envs, **{**keys, **given})
    try:
        yield envs
    finally:
        envs.close()


@contextmanager
def in_process(
    env_id: str, num_envs: int, module: str = "", mode: AutoresetMode = AutoresetMode.NEXT_STEP, **kwargs: Any
) -> Iterator[SyncVectorEnv[Any, Any]]:
    """The same envs in this process."""
    sys.path[:0] = PYTHONPATH
    try:
        named = f"{module}:{env_id}" if module else env_id
        envs = SyncVectorEnv([lambda: Crossed(gym.make(named, **kwargs))] * num_envs, autoreset_mode=mode)
    finally:
        del sys.path[: len(PYTHONPATH)]
    try:
        yield envs
    finally:
        envs.close()


def played(envs: VectorEnv[Any, Any, Any], actions: list[Any], options: dict[str, Any] | None = None) -> list[Any]:
    """Everything that the vector env returns: a seeded reset, the actions, and partial resets without autoreset."""
    results: list[Any] = [envs.reset(seed=7, options=options)]
    for action in actions:
        result = envs.step(action)
        results.append(result)
        ended = result[2] | result[3]
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            results.append(envs.reset(options={"reset_mask": ended}))
    seeds = [int(index) if index % 2 else None for index in range(envs.num_envs)]
    mask = np.arange(envs.num_envs) != 1
    results.append(envs.reset(seed=seeds, options={"reset_mask": mask}))
    return [*results, envs.step(actions[0])]


def actions_for(envs: VectorEnv[Any, Any, Any], count: int) -> list[Any]:
    """Batched actions, the same for the same space."""
    envs.action_space.seed(11)
    return [envs.action_space.sample() for _ in range(count)]
