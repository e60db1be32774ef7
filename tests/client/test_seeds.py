"""Any seed that the simulator takes reaches it with its type; the simulator's error for a seed reaches the user."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from support.opened import TARGET, opened

from gym_service.errors import EnvError
from gym_service.testing.in_target import trajectory

SEEDS: tuple[Any, ...] = (
    *(-1, 0, 3, 2**31, 2**63, 2**100, True, None, "a text", b"bytes", 1.5, [], [1, 2], [1, None], (3, np.int8(4))),
    *(np.dtype(code).type(7) for code in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")),
    *(np.uint64(2**64 - 1), np.int64(-1), np.array([1, 2]), {"a": 1}),
)
# gym 0.25 and older do not check the seed in Env.reset.
REFUSED = (-1, "a text", [1, 2], np.int64(3), np.uint8(3), (1,))


def is_same(one: Any, other: Any) -> bool:
    return trajectory.text(one) == trajectory.text(other)


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym026", "py310-gymnasium029", TARGET])
def test_a_seed_arrives_with_its_type(target: str) -> None:
    with opened("a seeded env", target=target, entry_point="seeded:SeededEnv") as env:
        for seed in SEEDS:
            _, info = env.reset(seed=seed)
            assert is_same(info["seed"], seed)
            assert info["name"] == type(seed).__name__
    with opened("an old seeded env", target=target, entry_point="seeded:OldSeededEnv") as env:
        for seed in SEEDS:
            env.reset(seed=seed)
            if seed is not None:  # with None the env is not seeded
                assert is_same(env.step(0)[4]["seed"], seed)


@pytest.mark.parametrize("target", ["py38-gym026", "py310-gymnasium029", TARGET])
def test_the_check_of_seeds_is_the_simulators(target: str) -> None:
    with opened("a strict env", target=target, entry_point="seeded:StrictEnv") as env:
        for seed in REFUSED:
            with pytest.raises(EnvError, match=r"^Seed must be ") as caught:
                env.reset(seed=seed)
            assert caught.value.type_name in ("gym.error.Error", "gymnasium.error.Error")
            assert isinstance(caught.value, gymnasium.error.Error)
        assert env.reset(seed=2**100)[1]["seed"] == 2**100
