"""send() and recv(): they return the results of envs that are ready; each env's trajectory equals a single env's."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array
from support.clock import Clock
from support.paced_envs import SLOW_MS, all_received, paced, play_counting, received, rows_of
from support.same import same
from support.vector_play import in_process, remote

from gym_service import RemoteVectorEnv

MODES = list(AutoresetMode)


@pytest.fixture
def envs() -> Iterator[RemoteVectorEnv]:
    """Four envs after a reset, two in each of two workers."""
    with paced(4, workers=2) as made:
        made.reset(seed=0)
        yield made


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

            played = begun(seed=7 + index, options={})
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
    # The options are in the camera's info. None beside the {} of a later reset would be lost in Gymnasium's columns.
    envs.reset_async(seed=7, options={})
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
                waits[[arrival.env_ids[row] for row in rows]] += 1
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
