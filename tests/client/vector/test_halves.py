"""call_async and reset_async, and options of each env."""

from collections.abc import Iterator
from typing import Any

import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service import RemoteVectorEnv
from gym_service.errors import EnvError


@pytest.fixture
def envs() -> Iterator[RemoteVectorEnv]:
    python = str(TARGETS["py312-gymnasium14"].python())
    made = gym_service.make_vec("x", 3, workers=2, python=python, pythonpath=[ENVS], entry_point="set_up:ToldEnv")
    yield made
    made.close()


def told(infos: dict[str, Any]) -> list[Any]:
    return list(infos["told"])


def test_each_env_has_options_of_its_own(envs: RemoteVectorEnv) -> None:
    options = [{"a": 1}, None, {"reset_mask": "theirs"}]
    for given in (options, tuple(options)):
        assert told(envs.reset(seed=[7, None, 9], options=given)[1]) == [
            [7, {"a": 1}],
            [None, None],
            [9, {"reset_mask": "theirs"}],
        ]
    assert told(envs.reset(options={"a": 1})[1]) == [[None, {"a": 1}]] * 3
    for wrong in ([{}], [{}] * 4):
        with pytest.raises(ValueError, match=rf"options for {len(wrong)} of 3 sub-environments"):
            envs.reset(options=wrong)


def test_a_reset_is_begun_and_waited_for(envs: RemoteVectorEnv) -> None:
    envs.reset_async(seed=5, options=[{"a": index} for index in range(3)])
    for refused in (envs.reset, envs.reset_async, lambda: envs.call("calls_before"), lambda: envs.step([0, 0, 0])):
        with pytest.raises(AlreadyPendingCallError, match=r"reset_wait\(\) first"):
            refused()
    for other in (envs.step_wait, envs.call_wait):
        with pytest.raises(NoAsyncCallError, match=r"a reset has begun.*\n  try: reset_wait\(\)"):
            other()
    observations, infos = envs.reset_wait()
    assert observations.tolist() == [0, 0, 0]
    assert told(infos) == [[5 + index, {"a": index}] for index in range(3)]
    with pytest.raises(NoAsyncCallError):
        envs.reset_wait()


def test_a_call_is_begun_and_waited_for(envs: RemoteVectorEnv) -> None:
    envs.reset()
    envs.call_async("variables", "NOT_SET_ANYWHERE")
    with pytest.raises(AlreadyPendingCallError, match=r"call_wait\(\) first"):
        envs.step_async([0, 0, 0])
    assert envs.call_wait() == ([None],) * 3
    envs.call_async("nothing_of_this_name")
    with pytest.raises(EnvError, match="nothing_of_this_name"):
        envs.call_wait()
    envs.step_async([0, 0, 0])
    assert envs.step_wait()[1].tolist() == [0.0] * 3
