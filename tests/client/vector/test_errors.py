"""The error of one env names that env and ends nothing; the death of a worker ends the vector env."""

import gc
import os
import signal
import sys
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.vector import AutoresetMode
from support.vector_play import remote

import gym_service
from gym_service import RemoteVectorEnv, errors

ACTIONS = np.array([0, 1, 2, 0, 1])


@pytest.fixture(params=[1, 3], ids=["one worker", "three workers"])
def envs(request: pytest.FixtureRequest) -> Iterator[RemoteVectorEnv]:
    """Five envs without faults, after a reset."""
    with remote("Misbehaving-v0", 5, "misbehaving", workers=request.param) as made:
        made.reset(seed=0)
        yield weakref.proxy(made)  # pytest keeps the value too long: a server's record is mapped while its env lives


def arm(envs: RemoteVectorEnv, index: int, on: str, what: str) -> None:
    """Give one of them a fault for its next ``on`` call."""
    envs.set_attr("armed", [{on: what} if index == at else {} for at in range(envs.num_envs)])


@pytest.mark.parametrize("index", [0, 3, 4])
def test_an_error_keeps_its_type_and_names_its_env_and_all_stay_usable(envs: RemoteVectorEnv, index: int) -> None:
    arm(envs, index, "step", "TypeError")
    with pytest.raises(TypeError, match=f"^of another type\n(.*\n)*?in sub-environment {index} of") as caught:
        envs.step(ACTIONS)
    assert isinstance(caught.value, errors.EnvError)
    assert caught.value.message == "of another type"
    counts = envs.step(ACTIONS)[0]["count"]
    # Earlier envs of its worker have made the first step too, as in a SyncVectorEnv; so have those of other workers.
    if len(envs.targets) == 1:
        assert counts.tolist() == [2] * index + [1] * (5 - index)
    assert counts[index] == 1


@pytest.mark.parametrize("on", ["reset", "render"])
def test_other_calls_name_the_env_too(envs: RemoteVectorEnv, on: str) -> None:
    arm(envs, 4, on, "KeyError")
    with pytest.raises(errors.EnvKeyError, match="in sub-environment 4 of"):
        getattr(envs, on)()
    assert len(envs.render()) == 5


def test_an_observation_that_cannot_cross_names_its_env(envs: RemoteVectorEnv) -> None:
    with pytest.raises(errors.CannotCross, match=r"\$\.result\[0\]"):
        envs.call("unsendable")
    assert envs.call("echo", 3) == (3,) * 5


def test_an_action_that_cannot_cross_is_refused_before_anything_is_sent(envs: RemoteVectorEnv) -> None:
    with pytest.raises(errors.CannotCross, match=r"\$\.actions"):
        envs.step([0, 1, 2, 0, object()])
    assert envs.step(ACTIONS)[0]["count"].tolist() == [1] * 5


@pytest.mark.parametrize("count", [0, 4, 6])
def test_a_wrong_number_of_actions_steps_nothing(envs: RemoteVectorEnv, count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} actions for 5"):
        envs.step(np.zeros(count, np.int64))
    assert envs.step(ACTIONS)[0]["count"].tolist() == [1] * 5


def test_a_worker_that_dies_is_the_end_of_all(envs: RemoteVectorEnv) -> None:
    arm(envs, 2, "step", "SIGKILL")
    with pytest.raises(errors.ServerCrashed, match="last words"):
        envs.step(ACTIONS)
    with pytest.raises(errors.ClosedError, match="ServerCrashed"):
        envs.step(ACTIONS)
    for target in envs.targets:
        with pytest.raises(ProcessLookupError):
            os.kill(target["pid"], 0)


def test_a_worker_killed_between_two_calls(envs: RemoteVectorEnv) -> None:
    os.kill(envs.targets[-1]["pid"], signal.SIGKILL)
    with pytest.raises(errors.ServerCrashed):
        envs.step(ACTIONS)
    with pytest.raises(errors.ClosedError, match="ServerCrashed"):
        envs.reset()


def test_a_timeout_in_one_worker_closes_all() -> None:
    with remote("Misbehaving-v0", 3, "misbehaving", workers=3, timeouts={"step": 0.5}) as envs:
        envs.reset()
        arm(envs, 1, "step", "hang")
        with pytest.raises(errors.CallTimeout):
            envs.step(ACTIONS[:3])
        with pytest.raises(errors.ClosedError, match="CallTimeout"):
            envs.step(ACTIONS[:3])


def test_a_step_is_begun_once_and_waited_for_once(envs: RemoteVectorEnv) -> None:
    with pytest.raises(NoAsyncCallError):
        envs.step_wait()
    envs.step_async(ACTIONS)
    with pytest.raises(AlreadyPendingCallError):
        envs.step_async(ACTIONS)
    with pytest.raises(AlreadyPendingCallError):
        envs.get_attr("count")
    assert envs.step_wait()[0]["count"].tolist() == [1] * 5


def test_an_env_that_cannot_be_made_leaves_nothing() -> None:
    kwargs = {"on": "init", "what": "ValueError"}
    with (
        pytest.raises(errors.EnvValueError, match="no such thing"),
        remote("Misbehaving-v0", 3, "misbehaving", workers=2, kwargs=kwargs),
    ):
        pass


def test_garbage_is_closed() -> None:
    made = gym_service.make_vec("CartPole-v1", 2, workers=2, python=sys.executable)
    pids = [target["pid"] for target in made.targets]
    del made
    gc.collect()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_with_autoreset_disabled_a_step_beyond_the_end_is_refused() -> None:
    with remote("FrozenLake-v1", 2, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=1) as envs:
        envs.reset(seed=0)
        assert envs.step(np.array([0, 0]))[3].all()
        with pytest.raises(AssertionError, match="in sub-environment 0 of"):
            envs.step(np.array([0, 0]))
        envs.reset()
        envs.step(np.array([0, 0]))


def test_a_mask_that_is_none_is_refused_and_the_users_options_stay_theirs(envs: RemoteVectorEnv) -> None:
    for mask in ([True] * 5, np.ones(5)):
        with pytest.raises(TypeError, match="reset_mask"):
            envs.reset(options={"reset_mask": mask})
    for mask in (np.ones(4, np.bool_), np.zeros(5, np.bool_)):
        with pytest.raises(ValueError, match="reset_mask"):
            envs.reset(options={"reset_mask": mask})
    options = {"reset_mask": np.arange(5) == 2, "goal": 3}
    infos = envs.reset(options=options)[1]
    assert infos["options"]["goal"].tolist() == [0, 0, 3, 0, 0]
    assert list(options) == ["reset_mask", "goal"]
    with pytest.raises(ValueError, match="4 seeds for 5"):
        envs.reset(seed=[1, 2, 3, 4])
