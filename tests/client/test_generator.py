"""There is only one generator, the simulator's: drawing in the client draws in the simulator."""

import copy
import sys
from typing import Any

import numpy as np
import pytest
from support.opened import TARGET, opened
from support.paths import ENVS

from gym_service.client.generator import RemoteGenerator


def drawing(target: str = TARGET, entry_point: str = "DrawingEnv") -> Any:
    return opened("drawing", target=target, entry_point=f"drawing:{entry_point}")


def played(env: Any) -> list[Any]:
    """Draws of the env and of a user of its generator, in turn."""
    found = [float(env.reset(seed=3)[0])]
    for _ in range(3):
        found.append(float(env.step(0)[0]))
        found.append(env.np_random.random())
        found.append(env.np_random.integers(0, 1000, 3).tolist())
    found.append(env.np_random.permutation(5).tolist())
    held = env.np_random
    env.step(0)
    found.append(held.normal())
    found.append(copy.deepcopy(env.np_random).random())  # drawing from a copy does not change the original
    found.append(float(env.step(0)[0]))
    env.np_random = np.random.default_rng(9)
    found.append(float(env.step(0)[0]))
    found.append(env.np_random.bit_generator.state["state"])
    return found


def test_draws_are_those_of_an_env_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ENVS))
    import drawing as module

    expected = played(module.DrawingEnv())
    with opened("drawing", python=sys.executable, entry_point="drawing:DrawingEnv") as env:
        assert played(env) == expected
        assert env.np_random is env.unwrapped.np_random
        assert type(env.np_random) is RemoteGenerator


@pytest.mark.parametrize("target", ["py310-gymnasium029", TARGET])
def test_the_seed_is_asked(target: str) -> None:
    with drawing(target) as env:
        assert env.unwrapped._np_random is None
        env.reset()
        if target == TARGET:
            assert env.np_random_seed == env.unwrapped.call("builtins:getattr", "np_random_seed")
            env.reset(seed=5)
            assert env.np_random_seed == 5
            env.np_random = np.random.default_rng(1)
            assert env.np_random_seed == -1


def test_the_random_state_of_an_old_env() -> None:
    with drawing("py36-gym021", "OldDrawingEnv") as env:
        own = np.random.RandomState(3)
        assert env.reset(seed=3)[0] == own.random_sample()
        assert env.np_random.random_sample() == own.random_sample()
        assert env.step(0)[0] == own.random_sample()
        assert env.np_random.randint(100, size=4).tolist() == own.randint(100, size=4).tolist()
        assert env.step(0)[0] == own.random_sample()
        assert env.unwrapped._np_random is not None  # a stand-in, which only checkers read
