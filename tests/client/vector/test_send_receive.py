"""send() and recv(): they return the results of envs that are ready; each env's trajectory equals a single env's."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from support.clock import Clock
from support.same import same
from support.vector_play import in_process, remote

from gym_service import RemoteVectorEnv, errors

MODES = list(AutoresetMode)
SLOW_MS = 400


def paced(num_envs: int, **given: Any) -> Any:
    return remote("Paced-v0", num_envs, "paced", **given)


@pytest.fixture
def envs() -> Iterator[RemoteVectorEnv]:
    """Four envs after a reset, two in each of two workers."""
    with paced(4, workers=2) as made:
        made.reset(seed=0)
        yield made


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


# -- the same trajectories -----------------------------------------------------------------------------------------

ENVS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cartpole": ("CartPole-v1", "", {"max_episode_steps": 9}),
    "blackjack": ("Blackjack-v1", "", {"natural": True}),
    "camera": ("Camera-v0", "camera_env", {"size": 96}),
    "nested": ("EverySpace-v0", "every_space", {"space": "nested"}),
    "no layout": ("EverySpace-v0", "every_space", {"space": "nested without a fixed size"}),
}
NUM_ENVS, STEPS = 5, 25
NO_STEP = np.zeros(1), np.zeros(1, np.bool_), np.zeros(1, np.bool_)  # the other values beside a reset's observation


def reference(name: str, mode: AutoresetMode, actions: list[list[Any]]) -> list[list[tuple[Any, ...]]]:
    """The results of each env alone, in this process: its reset, and each step."""
    env_id, module, kwargs = ENVS[name]
    found = []
    for index in range(NUM_ENVS):
        with in_process(env_id, 1, module, mode, **kwargs) as single:
            space = single.single_observation_space

            def begun(single: Any = single, space: Any = space, **given: Any) -> list[tuple[Any, ...]]:
                observations, infos = single.reset(**given)
                return rows_of(space, (observations, *NO_STEP, infos))

            played = begun(seed=7 + index)
            for action in actions[index]:
                result = single.step(stacked(single.single_action_space, [action]))
                played += rows_of(space, result)
                if mode is AutoresetMode.DISABLED and (result[2] | result[3]).any():
                    played += begun(options={"reset_mask": np.ones(1, np.bool_)})
        found.append(played)
    return found


def sent_and_received(
    envs: RemoteVectorEnv, actions: list[list[Any]], chosen: random.Random
) -> list[list[tuple[Any, ...]]]:
    """The same results by send and recv, for envs chosen at random, a given number at a time."""
    found: list[list[tuple[Any, ...]]] = [[] for _ in range(NUM_ENVS)]
    left = [list(each) for each in actions]
    disabled = envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    envs.reset_async(seed=7)
    idle: set[int] = set()
    while idle or envs.in_flight:
        ready = [env_id for env_id in idle if left[env_id]]
        ended = [env_id for env_id in idle if disabled and found[env_id][-1][2] | found[env_id][-1][3]]
        if ended:
            envs.reset_async(options={"reset_mask": np.isin(np.arange(NUM_ENVS), ended)})
        ready = [env_id for env_id in chosen.sample(ready, len(ready)) if env_id not in ended]
        ready = ready[: chosen.randint(0 if envs.in_flight else 1, NUM_ENVS)]
        if ready:
            given = [left[env_id].pop(0) for env_id in ready]
            envs.send(stacked(envs.single_action_space, given), np.array(ready))
        idle -= {*ready, *ended}
        if not envs.in_flight:
            break
        most = chosen.choice([None, 1, 2])
        least = chosen.randint(1, min(most or NUM_ENVS, len(envs.in_flight)))
        for env_id, row in received(envs, least, most).items():
            found[env_id].append(row)
            idle.add(env_id)
    return found


def stacked(space: Any, actions: list[Any]) -> Any:
    """Several actions in one, as Gymnasium batches them."""
    return concatenate(space, actions, create_empty_array(space, len(actions)))


@pytest.mark.parametrize(
    ("name", "mode", "workers"),
    [
        pytest.param(name, mode, workers, id=f"{name} {mode.value} {workers}", marks=[pytest.mark.long] * is_long)
        for row, name in enumerate(ENVS)
        for column, mode in enumerate(MODES)
        for place, workers in enumerate((1, 2, 5))
        for is_long in [(row + column) % 3 != place or (row > 2 and row % 3 != column)]
    ],
)
def test_each_env_plays_as_a_single_env_does(name: str, mode: AutoresetMode, workers: int) -> None:
    env_id, module, kwargs = ENVS[name]
    with remote(env_id, NUM_ENVS, module, workers=workers, autoreset_mode=mode, kwargs=kwargs) as envs:
        with in_process(env_id, 1, module, mode, **kwargs) as single:
            single.single_action_space.seed(11)
            actions = [[single.single_action_space.sample() for _ in range(STEPS)] for _ in range(NUM_ENVS)]
        found = sent_and_received(envs, actions, random.Random(f"{name} {mode} {workers}"))
        for index, (ours, theirs) in enumerate(zip(found, reference(name, mode, actions), strict=True)):
            assert same(ours, theirs), index


def test_whole_steps_and_sent_ones_take_turns(envs: RemoteVectorEnv) -> None:
    for number in range(1, 20, 2):
        assert envs.step(np.zeros(4, np.int64))[0][:, 0].tolist() == [number] * 4
        envs.send(np.zeros(4, np.int64))
        assert envs.recv(4)[0][:, 0].tolist() == [number + 1] * 4
    envs.reset()
    envs.send(np.zeros(1, np.int64), [2])
    envs.recv()
    assert envs.step(np.zeros(4, np.int64))[0][:, 0].tolist() == [1, 1, 2, 1]


# -- who is ready --------------------------------------------------------------------------------------------------


def test_those_that_are_ready_come_first_and_the_slow_one_is_not_waited_for() -> None:
    with paced(3, workers=3) as envs:
        envs.reset()
        clock = Clock()
        envs.send(np.array([SLOW_MS, 0, 0]))
        assert envs.in_flight == (0, 1, 2)
        seen = {*envs.recv(2)[5].tolist()}
        assert seen == {1, 2}
        assert envs.in_flight == (0,)
        for _ in range(5):
            envs.send(np.array([0, 0]), [2, 1])
            result = envs.recv(2, 2)
            assert {*result[5].tolist()} == {1, 2}
            assert result[5].dtype == np.int64
        assert clock.is_within(0, SLOW_MS / 1000)
        observations, rewards, *_, infos, env_ids = envs.recv()
        assert (observations.tolist(), env_ids.tolist()) == ([[1]], [0])
        assert rewards.tolist() == [SLOW_MS]
        assert infos["pid"].tolist() == [envs.targets[0]["pid"]]
        assert envs.in_flight == ()


def test_one_worker_gives_each_of_its_envs_as_soon_as_it_is_ready() -> None:
    with paced(3) as envs:
        envs.reset()
        for _ in range(3):  # the server learns that its steps are long
            envs.send(np.full(3, 2))
            envs.recv(3)
        clock = Clock()
        envs.send(np.array([2, 2, SLOW_MS]))
        assert envs.recv(2)[5].tolist() == [0, 1]
        # Calls sent while the worker is busy wait for it, in order, and are combined into one.
        envs.send(np.array([1]), [1])
        envs.send(np.array([0]), [0])
        assert clock.is_within(0, SLOW_MS / 1000)
        assert envs.in_flight == (2, 1, 0)
        assert np.concatenate([envs.recv(1, 1)[5] for _ in range(3)]).tolist() == [2, 1, 0]


def test_at_most_so_many_are_given_and_none_is_lost(envs: RemoteVectorEnv) -> None:
    envs.send(np.zeros(4, np.int64))
    envs.recv(4)
    envs.send(np.zeros(4, np.int64), np.array([3, 1, 0, 2], np.uint8))
    seen = [envs.recv(1, 1)[5].tolist() for _ in range(4)]
    assert sorted(env_id for one in seen for env_id in one) == [0, 1, 2, 3]
    with pytest.raises(NoAsyncCallError, match="in flight"):
        envs.recv()


def test_a_reset_that_has_begun_is_received_env_by_env() -> None:
    with paced(3, workers=3) as envs:
        envs.reset_async(seed=[4, 5, 6], options=[{"ms": SLOW_MS}, {}, {}])
        assert envs.in_flight == (0, 1, 2)
        _, rewards, terminations, _, infos, env_ids = envs.recv(2)
        assert {*env_ids.tolist()} == {1, 2}
        assert (rewards.tolist(), terminations.tolist()) == ([0.0, 0.0], [False, False])
        assert infos["seed"].tolist() == [4 + env_id for env_id in env_ids]
        envs.send(np.array([7, 8]), env_ids)
        with pytest.raises(NoAsyncCallError):
            envs.reset_wait()
        found = all_received(envs)
        assert found[0][4] == {"seed": 4}
        assert found[int(env_ids[0])][1] == 7.0
        envs.reset_async(seed=1)
        assert envs.reset_wait()[1]["seed"].tolist() == [1, 2, 3]


def test_some_are_reset_while_others_are_in_flight() -> None:
    with paced(4, workers=2, autoreset_mode=AutoresetMode.DISABLED) as envs:
        envs.reset()
        envs.send(np.array([0, 20]), [0, 1])
        options = {"reset_mask": np.array([False, False, True, True]), "ms": 1}
        envs.reset_async(seed=30, options=options)
        with pytest.raises(AlreadyPendingCallError, match="sub-environments 0, 1, 2 and 3 in flight already"):
            envs.reset_async()
        found = all_received(envs)
        assert {env_id: row[4].get("seed") for env_id, row in found.items()} == {0: None, 1: None, 2: 32, 3: 33}
        assert [found[env_id][0].tolist() for env_id in range(4)] == [[1], [1], [0], [0]]
        # If a mask selects some envs for the reset, the others can be sent at once.
        envs.reset_async(options=options)
        envs.send(np.zeros(2, np.int64), [1, 0])
        assert sorted(envs.recv(4)[5].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("receives", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_none_that_is_ready_waits_longer_than_twice_its_fair_share(receives: int) -> None:
    """Counted in receives that began when the result was here. The time itself would depend on the machine's load."""
    with paced(6, workers=3) as envs:
        envs.reset()
        envs.send(np.zeros(6, np.int64))
        waits = np.zeros(6, np.int64)
        counts = np.zeros(6, np.int64)
        longest = 0
        for _ in range(receives):
            for arrival, rows in envs._workers._ready():
                waits[[arrival.places[row][0] for row in rows]] += 1
            env_ids = envs.recv(2, 2)[5]
            longest = max(longest, *waits[env_ids])
            waits[env_ids] = 0
            counts[env_ids] += 1
            envs.send(np.zeros(2, np.int64), env_ids)
        print(f"longest wait: {longest} receives, fair: 3; received: {counts.tolist()}")
        assert 0 < longest <= 2 * 6 / 2
        assert counts.min() > 0
        assert counts.sum() == 2 * receives


# -- what is refused, and what fails -------------------------------------------------------------------------------


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
        envs.set_attr("results", [{}, {"observation": "a lock in the observation"}, {}])
        envs.send(np.array([0, 1, 2]))
        with pytest.raises(errors.CannotCross, match=r"\$\.observations\[1\]"):
            envs.recv(3)
        result = envs.recv(2)
        assert result[5].tolist() == [0, 2]
        assert result[0]["count"].tolist() == [before + 1] * 2
        assert result[4]["count"].tolist() == [before + 1] * 2
        assert envs.in_flight == ()


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


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_what_was_received_does_not_change(workers: int) -> None:
    with paced(3, workers=workers, kwargs={"side": 96}) as envs:
        envs.reset()
        envs.send(np.zeros(3, np.int64))
        kept = []
        steps = np.zeros(3, np.int64)
        for _ in range(60):
            observations, *_, env_ids = envs.recv(1)
            steps[env_ids] += 1
            assert observations.flags.writeable
            kept.append((observations, steps[env_ids].tolist()))
            envs.send(np.zeros(len(env_ids), np.int64), env_ids)
        for observations, expected in kept:
            assert [{*row.ravel().tolist()} for row in observations] == [{number} for number in expected]


def test_over_a_stream_without_shared_memory() -> None:
    with paced(3, workers=2, kwargs={"side": 64}, transport="stdio", arena_mib=0) as envs:
        play_counting(envs, 30)


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
