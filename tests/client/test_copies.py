"""A copy of an env, or of a vector env, is a new one, which needs a reset."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from support.opened import TARGET, opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service.errors import EnvError

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025", "py38-gym026", "py310-gymnasium029", TARGET])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_copy_of_an_env_without_order_enforcing_needs_a_reset(target: str) -> None:
    with opened("old", target=target, entry_point="older:OlderEnv", render_mode="ansi") as env:
        env.reset(seed=1)
        env.step(0)
        for name in COPIES:
            copied = COPIES[name](env)
            try:
                for use in (lambda: copied.step(0), copied.render):  # noqa: B023
                    with pytest.raises(
                        ResetNeeded, match=r"before calling env\.reset\(\): this env is a copy"
                    ) as caught:
                        use()
                    assert isinstance(caught.value, EnvError)
                    assert "raised in the simulator" not in str(caught.value)
                assert copied.seeds == []
                copied.reset(seed=5)
                assert copied.step(0)[1] == 1.0
                assert copied.render() == "as ansi"
            finally:
                copied.close()
        env.step(0)


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
@pytest.mark.parametrize("copied_by", COPIES.values(), ids=COPIES)
def test_a_copied_vector_env_is_made_again_and_needs_a_reset(copied_by: Callable[[Any], Any]) -> None:
    where = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "entry_point": "older:OlderEnv"}
    envs = gym_service.make_vec("old", 3, workers=2, autoreset_mode="SameStep", kwargs={"ends_after": 2}, **where)
    try:
        envs.reset(seed=1)
        copied = copied_by(envs)
        try:
            assert copied.metadata == envs.metadata
            assert len(copied.targets) == 2
            assert {target["pid"] for target in copied.targets}.isdisjoint(target["pid"] for target in envs.targets)
            with pytest.raises(ResetNeeded):
                copied.step(np.zeros(3, np.int64))
            observations, _ = copied.reset(seed=1)
            assert np.array_equal(observations, envs.reset(seed=1)[0])
            for _ in range(2):
                ended = copied.step(np.zeros(3, np.int64))
            assert "final_obs" in ended[4]
        finally:
            copied.close()
    finally:
        envs.close()
