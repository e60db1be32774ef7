"""Vector envs of ``Paced-v0``, and the results of ``recv`` by env.

Knows tests/fixture_envs/paced.py and gym_service.make_vec. Python 3.10 and up, Gymnasium 1.0 and up.
"""

from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space, iterate

from gym_service import RemoteVectorEnv
from support.vector_play import remote

SLOW_MS = 400


def paced(num_envs: int, **given: Any) -> Any:
    return remote("Paced-v0", num_envs, "paced", **given)


def info_of(infos: dict[Any, Any], row: int) -> dict[Any, Any]:
    """The info of one env, from infos in Gymnasium's layout."""
    found = {}
    for key, value in infos.items():
        if f"_{key}" in infos and infos[f"_{key}"][row]:
            found[key] = info_of(value, row) if isinstance(value, dict) else value[row]
    return found


def rows_of(space: Any, result: Any) -> list[tuple[Any, ...]]:
    """The rows of a batch: observation, reward, terminated, truncated, info."""
    observations, rewards, terminations, truncations, infos = result
    single = list(iterate(batch_space(space, len(rewards)), observations))
    columns = single, rewards, terminations, truncations, [info_of(infos, row) for row in range(len(rewards))]
    return list(zip(*columns, strict=True))


def received(envs: RemoteVectorEnv, *given: Any) -> dict[int, tuple[Any, ...]]:
    """The results of ``recv``, by env."""
    *result, env_ids = envs.recv(*given)
    return dict(zip(env_ids.tolist(), rows_of(envs.single_observation_space, result), strict=True))


def all_received(envs: RemoteVectorEnv) -> dict[int, tuple[Any, ...]]:
    found = {}
    while envs.in_flight:
        found |= received(envs)
    return found


def play_counting(envs: RemoteVectorEnv, receives: int) -> None:
    """Each image contains the number of its env's step."""
    envs.reset()
    envs.send(np.zeros(envs.num_envs, np.int64))
    steps = np.zeros(envs.num_envs, np.int64)
    for _ in range(receives):
        observations, *_, env_ids = envs.recv(1, 2)
        steps[env_ids] += 1
        assert [{*row.ravel().tolist()} for row in observations] == [{int(number)} for number in steps[env_ids]]
        envs.send(np.zeros(len(env_ids), np.int64), env_ids)
