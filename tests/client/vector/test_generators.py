"""``np_random`` of a vector env: a tuple as in SyncVectorEnv; drawing from an item draws in that env's simulator."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from support.paths import ENVS

import gym_service


@contextmanager
def remote(workers: int, entry_point: str = "drawing:DrawingEnv") -> Iterator[Any]:
    given = {"python": sys.executable, "pythonpath": [str(ENVS)], "entry_point": entry_point}
    envs = gym_service.make_vec("", 3, workers=workers, **given)
    try:
        yield envs
    finally:
        envs.close()


def played(envs: Any) -> list[Any]:
    """The draws of the envs and of a user of their generators, in turn."""
    found = [envs.reset(seed=3)[0].tolist(), envs.np_random_seed]
    for index in (2, 0, 1):
        found.append(envs.np_random[index].random())
        found.append(envs.step(np.zeros(3, np.int64))[0].tolist())
    held = envs.np_random
    envs.step(np.zeros(3, np.int64))
    found += [held[1].normal(), envs.get_attr("np_random")[1].normal(), len(held)]
    return [*found, envs.step(np.zeros(3, np.int64))[0].tolist()]


@pytest.mark.parametrize("workers", [1, 2])
def test_draws_are_those_of_a_sync_vector_env_in_this_process(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ENVS))
    import drawing

    expected = played(SyncVectorEnv([drawing.DrawingEnv] * 3))
    with remote(workers) as envs:
        assert played(envs) == expected
        assert all(one is other for one, other in zip(envs.np_random, envs.np_random, strict=True))
        with pytest.raises(AttributeError):
            envs.np_random = ()
        assert isinstance(envs.np_random[0], np.random.Generator)


def test_the_random_states_of_old_envs() -> None:
    with remote(2, "drawing:OldDrawingEnv") as envs:
        own = [np.random.RandomState(3 + index) for index in range(3)]
        assert envs.reset(seed=3)[0].tolist() == [one.random_sample() for one in own]
        assert [one.random_sample() for one in envs.np_random] == [one.random_sample() for one in own]
        assert envs.step(np.zeros(3, np.int64))[0].tolist() == [one.random_sample() for one in own]
