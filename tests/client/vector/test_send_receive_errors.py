"""send() and recv(): what they refuse, and errors, crashes and timeouts, which name the envs that they concern."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.vector import AutoresetMode
from support.clock import Clock
from support.paced_envs import SLOW_MS, all_received, paced, received
from support.same import same
from support.vector_play import remote

from gym_service import RemoteVectorEnv, errors

LOCKED = "a lock in the observation"


@pytest.fixture
def envs() -> Iterator[RemoteVectorEnv]:
    """Four envs after a reset, two in each of two workers."""
    with paced(4, workers=2) as made:
        made.reset(seed=0)
        yield made


def test_whole_calls_are_refused_while_any_is_in_flight(envs: RemoteVectorEnv) -> None:
    envs.send(np.array([0]), [2])
    whole: list[Callable[[], object]] = [
        lambda: envs.step(np.zeros(4, np.int64)),
        lambda: envs.step_async(np.zeros(4, np.int64)),
        envs.reset,
        envs.render,
        lambda: envs.call("steps"),
        lambda: envs.set_attr("steps", 3),
        lambda: envs.np_random_seed,
    ]
    for call in whole:
        with pytest.raises(AlreadyPendingCallError, match=r"with sub-environment 2 in flight\n  try: recv\(min_envs=1"):
            call()
    with pytest.raises(NoAsyncCallError):
        envs.step_wait()
    with pytest.raises(AlreadyPendingCallError, match="sub-environment 2 in flight already"):
        envs.send(np.zeros(2, np.int64), [1, 2])
    assert envs.in_flight == (2,)
    with pytest.raises(ValueError, match="min_envs=2: 1 "):
        envs.recv(2)
    assert envs.recv()[0].tolist() == [[1]]
    assert envs.step(np.zeros(4, np.int64))[0][:, 0].tolist() == [1, 1, 2, 1]


def test_half_a_step_refuses_them(envs: RemoteVectorEnv) -> None:
    envs.step_async(np.zeros(4, np.int64))
    for call in (lambda: envs.send(np.zeros(1, np.int64), [0]), envs.recv):
        with pytest.raises(AlreadyPendingCallError, match="step"):
            call()
    envs.step_wait()


@pytest.mark.parametrize(
    ("actions", "env_ids", "error"),
    [
        (np.zeros(2, np.int64), [0, 0], ValueError),
        (np.zeros(2, np.int64), [0, 4], ValueError),
        (np.zeros(2, np.int64), [0, -1], ValueError),
        (np.zeros(0, np.int64), [], ValueError),
        (np.zeros(3, np.int64), [0, 1], ValueError),
        (np.zeros(1, np.int64), [0, 1], ValueError),
        (np.zeros(3, np.int64), None, ValueError),
        (np.zeros(2, np.int64), [True, False], TypeError),
        (np.zeros(2, np.int64), [0.0, 1.0], TypeError),
        (np.zeros(2, np.int64), 1, TypeError),
        ([0, object()], [0, 1], errors.CannotCross),
    ],
)
def test_what_is_no_send_sends_nothing(
    envs: RemoteVectorEnv, actions: Any, env_ids: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        envs.send(actions, env_ids)
    assert envs.in_flight == ()
    for least, most in ((0, None), (2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="min_envs"):
            envs.recv(least, most)
    assert envs.step(np.zeros(4, np.int64))[0][:, 0].tolist() == [1] * 4


def test_actions_are_copied_where_they_wait() -> None:
    with remote("EverySpace-v0", 2, "every_space", kwargs={"space": "image"}) as envs:
        envs.reset(seed=1)
        given = np.array(envs.action_space.sample())
        expected = [repr(row) for row in given.copy()]
        envs.send(given[:1], [0])
        envs.send(given[1:], [1])  # its worker is busy
        given[:] = 0
        found = all_received(envs)
        assert [found[index][4]["action"] for index in range(2)] == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_that_of_its_env_and_the_others_go_on(workers: int) -> None:
    with remote("Misbehaving-v0", 3, "misbehaving", workers=workers) as envs:
        envs.reset(seed=0)
        envs.set_attr("armed", [{}, {"step": "TypeError"}, {}])
        envs.send(np.array([0, 1, 2]))
        with pytest.raises(TypeError, match="in sub-environment 1 of") as caught:
            envs.recv(3)
        assert isinstance(caught.value, errors.EnvError)
        assert {*envs.in_flight} == {0, 2}
        result = envs.recv(2)
        assert {*result[5].tolist()} == {0, 2}
        assert result[0]["count"].tolist() == [1, 1]
        assert envs.step(np.array([0, 1, 2]))[0]["count"].tolist() == [2, 1, 2]


def test_with_autoreset_disabled_a_step_beyond_the_end_is_refused_for_that_env() -> None:
    with remote("FrozenLake-v1", 2, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=1) as envs:
        envs.reset(seed=0)
        envs.send(np.array([0]), [1])
        assert envs.recv()[3].all()
        envs.send(np.array([0, 0]))
        with pytest.raises(AssertionError, match="in sub-environment 1 of"):
            envs.recv(2)
        assert envs.recv()[5].tolist() == [0]


@pytest.mark.parametrize("at_once", [False, True])
def test_what_cannot_cross_is_that_of_its_env(at_once: bool) -> None:
    with remote("Misbehaving-v0", 3, "misbehaving") as envs:
        envs.reset(seed=0)
        for _ in range(8 if at_once else 0):  # after these, the worker answers for all of them together
            envs.send(np.array([0, 1, 2]))
            envs.recv(3)
        before = envs.call("count")[0] if at_once else 0
        envs.set_attr("results", [{}, {"observation": LOCKED}, {}])
        envs.send(np.array([0, 1, 2]))
        with pytest.raises(errors.CannotCross, match=r"\$\.observations\[1\]"):
            envs.recv(3)
        result = envs.recv(2)
        assert result[5].tolist() == [0, 2]
        assert result[0]["count"].tolist() == [before + 1] * 2
        assert result[4]["count"].tolist() == [before + 1] * 2
        assert envs.in_flight == ()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("is_in_flight", [False, True])
def test_a_reset_of_some_concerns_no_observation_of_the_others(workers: int, is_in_flight: bool) -> None:
    with remote("Misbehaving-v0", 3, "misbehaving", workers=workers) as envs:
        envs.reset(seed=0)
        envs.set_attr("results", [{}, {"observation": LOCKED}, {}])
        envs.send(np.array([0]), [1])
        with pytest.raises(errors.CannotCross):
            envs.recv()
        options = {"reset_mask": np.array([True, False, False]), "of": "a user"}
        with pytest.raises(errors.CannotCross, match=r"\$\.observations\[1\]"):  # they all are in its result
            envs.reset(options=options)
        if is_in_flight:
            envs.send(np.array([0]), [2])
        envs.reset_async(seed=[5, 6, 7], options=options)
        found = all_received(envs)
        assert {*found} == ({0, 2} if is_in_flight else {0})
        assert found[0][4] == {"options": {"of": "a user"}}
        assert same(found[0][0], row_of(envs.reset(seed=[5, 6, 7])[0], 0))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "fault", "error"),
    [("armed", {"reset": "TypeError"}, errors.EnvTypeError), ("results", {"first": LOCKED}, errors.CannotCross)],
)
def test_a_reset_that_fails_is_that_of_its_env(
    workers: int, name: str, fault: dict[str, str], error: type[Exception]
) -> None:
    with remote("Misbehaving-v0", 3, "misbehaving", workers=workers) as envs:
        expected, _ = envs.reset(seed=4, options={"of": "a user"})
        for index in range(3):
            envs.step(np.zeros(3, np.int64))
            envs.set_attr(name, [fault if index == at else {} for at in range(3)])
            envs.reset_async(seed=4, options={"of": "a user"})
            others = {*range(3)} - {index}
            with pytest.raises(error) as caught:
                envs.recv(3)
            assert f"sub-environment {index}" in str(caught.value) or f"$.observations[{index}]" in str(caught.value)
            assert {*envs.in_flight} == others
            found = all_received(envs)
            assert {*found} == others
            for env_id, row in found.items():
                assert same(row[0], row_of(expected, env_id))
                assert row[1:] == (0.0, False, False, {"options": {"of": "a user"}})
            counts = envs.step(np.zeros(3, np.int64))[0]["count"].tolist()
            assert [counts[at] for at in sorted(others)] == [1, 1]


def row_of(observations: dict[str, Any], index: int) -> dict[str, Any]:
    return {key: values[index] for key, values in observations.items()}


def test_a_worker_that_dies_names_what_was_in_flight_there() -> None:
    with remote("Misbehaving-v0", 4, "misbehaving", workers=2) as envs:
        envs.reset(seed=0)
        envs.set_attr("armed", [{}, {}, {"step": "SIGKILL"}, {}])
        envs.send(np.array([0, 1, 2]), [0, 2, 3])
        with pytest.raises(errors.ServerCrashed, match="in flight there: sub-environments 2 and 3") as caught:
            envs.recv(3)
        assert caught.value.env_ids == (2, 3)
        for call in (envs.recv, lambda: envs.send(np.array([0]), [1]), lambda: envs.step(np.zeros(4, np.int64))):
            with pytest.raises(errors.ClosedError, match="ServerCrashed"):
                call()
        for target in envs.targets:
            with pytest.raises(ProcessLookupError):
                os.kill(target["pid"], 0)


def test_an_idle_worker_that_dies_is_noticed() -> None:
    with paced(2, workers=2) as envs:
        envs.reset()
        envs.send(np.array([10_000]), [0])
        os.kill(envs.targets[1]["pid"], signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed):
            envs.recv()


def test_a_timeout_names_what_was_in_flight_there() -> None:
    with paced(3, workers=3, timeouts={"step": 0.5}) as envs:
        envs.reset()
        envs.send(np.array([0, 60_000, 0]))
        assert sorted(envs.recv(2)[5].tolist()) == [0, 2]
        with pytest.raises(errors.CallTimeout, match="in flight there: sub-environment 1\n") as caught:
            envs.recv()
        assert caught.value.env_ids == (1,)
        assert caught.value.state == "blocked"
        with pytest.raises(errors.ClosedError, match="CallTimeout"):
            envs.recv()


def test_a_recv_that_waits_no_longer_loses_nothing() -> None:
    with paced(2, workers=2) as envs:
        envs.reset()
        envs.send(np.array([0, SLOW_MS]))
        assert envs.recv()[5].tolist() == [0]
        for timeout_s in (0, 0.01):
            with pytest.raises(errors.CallTimeout, match="in flight: sub-environment 1\n") as caught:
                envs.recv(timeout_s=timeout_s)
            assert (caught.value.state, caught.value.env_ids) == ("waiting", (1,))
        assert received(envs)[1][1] == SLOW_MS


def test_close_does_not_wait_for_what_is_in_flight() -> None:
    with paced(2, workers=2, timeouts={"close": 0.3}) as envs:
        envs.reset()
        envs.send(np.array([60_000, 0]))
        clock = Clock()
        envs.close()
        assert clock.is_within(0, 3)
        for call in (envs.recv, lambda: envs.send(np.array([0, 0]))):
            with pytest.raises(errors.ClosedError):
                call()


def test_close_by_another_thread_ends_a_recv() -> None:
    with paced(2, workers=2, timeouts={"close": 0.1}) as envs:
        envs.reset()
        envs.send(np.array([60_000, 60_000]))
        timer = threading.Timer(0.1, envs.close)
        timer.start()
        clock = Clock()
        with pytest.raises(errors.ClosedError):
            envs.recv()
        assert clock.is_within(0, 3)
        timer.join()
