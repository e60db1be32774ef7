"""No code of the simulator (repr, comparison, truth value) runs that would not run in-process. Python 3.10."""

import gymnasium
import pytest
from support.opened import opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service

POINT = "unprintable:UnprintableEnv"


@pytest.mark.parametrize("target", ["py38-gym021", "py310-gymnasium029", "py312-gymnasium14"])
@pytest.mark.parametrize("prefork", [False, True])
def test_an_env_whose_texts_fail_before_a_reset_is_made_and_played(target: str, prefork: bool) -> None:
    with opened("unprintable", target=target, entry_point=POINT, prefork=prefork) as env:
        assert env.target["env"] == "UnprintableEnv"
        assert "UnprintableEnv" in repr(env)
        env.reset()
        env.step(0)
        assert env.unwrapped.call("used") == []


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
@pytest.mark.parametrize("autoreset_mode", ["NextStep", "SameStep", "Disabled"])
def test_several_in_one_server(autoreset_mode: str) -> None:
    python = TARGETS["py312-gymnasium14"].python()
    envs = gym_service.make_vec(
        "unprintable", 3, python=python, pythonpath=[ENVS], entry_point=POINT, autoreset_mode=autoreset_mode
    )
    envs.reset()
    envs.step([0, 0, 0])
    assert [target["env"] for target in envs.targets] == ["UnprintableEnv"]
    assert envs.call("used") == ([],) * 3
    envs.close()
