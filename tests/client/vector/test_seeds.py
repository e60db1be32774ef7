"""Seeds of vector envs: a sequence has one per env, an int counts up, as in SyncVectorEnv."""

import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from support.paths import ENVS
from support.vector_play import remote

from gym_service.errors import EnvError
from gym_service.testing.in_target import trajectory

NUM_ENVS = 3
SEEDS: tuple[Any, ...] = (
    *(None, 0, 5, -1, 2**63 - 1, True),
    *([1, None, 3], (4, 5, 6), [None] * 3, [-1, "a text", 2**100], [[1, 2], (3,), np.int8(4)]),
    *(np.array([1, 2, 3], np.uint16), "abc"),
)
REFUSED = ([1, 2], (1, 2, 3, 4), "ab", np.arange(2), 1.5, np.float64(3))


@pytest.mark.parametrize("workers", [1, 2])
def test_seeds_are_those_of_a_sync_vector_env(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ENVS))
    import seeded

    ours = remote("", NUM_ENVS, workers=workers, entry_point="seeded:HoldingEnv", python=sys.executable)
    theirs = SyncVectorEnv([seeded.HoldingEnv] * NUM_ENVS)
    with ours as envs:
        for seed in SEEDS:
            assert trajectory.text(envs.reset(seed=seed)) == trajectory.text(theirs.reset(seed=seed)), seed
        for seed in REFUSED:
            for each in (envs, theirs):
                with pytest.raises((TypeError, ValueError)):
                    each.reset(seed=seed)
        # SyncVectorEnv does not take one numpy int for all; here it counts up in its own type.
        for dtype in (np.int8, np.uint8, np.int64, np.uint64):
            *_, held = envs.reset(seed=dtype(2))[1]["held"]
            assert trajectory.text(held) == trajectory.text([dtype(4)])
        with pytest.raises(ValueError, match=r"uint8 cannot count up for 3 sub-environments"):
            envs.reset(seed=np.uint8(254))


def test_the_check_of_seeds_is_the_simulators() -> None:
    with remote("CartPole-v1", NUM_ENVS, workers=2) as envs:
        with pytest.raises(EnvError, match=r"Seed must be greater or equal to zero, actual value: -1") as caught:
            envs.reset(seed=-1)
        assert caught.value.type_name == "gymnasium.error.Error"
        with pytest.raises(EnvError, match="Seed must be a python integer"):
            envs.reset(seed=[1, 2, np.int64(3)])
        envs.reset(seed=[1, None, 3])
