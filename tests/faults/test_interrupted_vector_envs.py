"""Exceptions of signal handlers at any line, bytecode and moment of a vector env's calls, with one and three workers.

As in ``test_interrupts.py``. In addition, all workers are in the same step afterwards, or a reset is asked for.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError, ResetNeeded
from support.interrupts import (
    BYTECODE_KINDS,
    EACH,
    LOADS,
    NEEDS_BYTECODES,
    OTHER,
    Late,
    Tally,
    interrupt_at_each,
    interrupt_at_random,
    interrupt_closes,
    interrupted_at_return,
)
from support.vector_play import remote

from gym_service import RemoteVectorEnv
from gym_service.client.exchange import Exchange
from gym_service.client.workers import Workers

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

NUM_ENVS = 3


@contextmanager
def made(workers: int, num_envs: int = NUM_ENVS, env_id: str = "Env-v0", **given: Any) -> Iterator[RemoteVectorEnv]:
    """A vector env after a reset. At the end all servers must be those of the beginning."""
    given = given or {"entry_point": "faulty:FaultyEnv", "kwargs": {"side": 96}}
    with remote(env_id, num_envs, workers=workers, **given) as envs:
        envs.reset()
        pids = [target["pid"] for target in envs.targets]
        yield envs
        assert [target["pid"] for target in envs.targets] == pids


def actions(number: int) -> Any:
    return np.array([[number + index, -7 * (number + index)] for index in range(NUM_ENVS)], np.int64)


def assert_batch(observations: Any, number: int) -> int:
    """Assert that each row answers its own action and all are in the same step. Returns its number."""
    answers = observations["answers"]
    assert answers[:, 1:].tolist() == actions(number).tolist()
    assert len(set(answers[:, 0].tolist())) == 1
    for index in range(NUM_ENVS):
        assert (observations["image"][index] == (number + index) % 256).all()
    return int(answers[0, 0])


def halves(envs: RemoteVectorEnv, kind: str, *given: Any) -> None:
    getattr(envs, f"{kind}_async")(*given)
    getattr(envs, f"{kind}_wait")()


BATCH_ACTS: dict[str, Callable[[RemoteVectorEnv], Any]] = {
    "step": lambda envs: envs.step(actions(OTHER)),
    "halves of step": lambda envs: halves(envs, "step", actions(OTHER)),
    "reset": lambda envs: envs.reset(),
    "halves of reset": lambda envs: halves(envs, "reset"),
    "render": lambda envs: envs.render(),
    "attribute": lambda envs: envs.get_attr("number"),
    "halves of call": lambda envs: halves(envs, "call", "number"),
}


def assert_goes_on(envs: RemoteVectorEnv, what: str, tally: Tally, point: int, where: str) -> None:
    """Assert that all workers are in the same step, or say that a reset is needed. For an odd point, reset first."""
    try:
        if point % 2 or what.endswith("reset"):
            envs.reset()
            assert assert_batch(envs.step(actions(7))[0], 7) == 1, where
        else:
            assert_batch(envs.step(actions(7))[0], 7)
    except AlreadyPendingCallError:
        # The interrupt came before the second half began: the call is still pending, and can be waited for.
        kind = what.removeprefix("halves of ")
        assert kind != what, where
        result = getattr(envs, f"{kind}_wait")()
        if kind == "step":
            assert_batch(result[0], OTHER)
        tally["still pending"] += 1
        assert_goes_on(envs, what, tally, point, where)
        return
    except ResetNeeded:
        assert len(envs.targets) > 1, where
        assert not point % 2, where
        tally["reset needed"] += 1
        with pytest.raises(ResetNeeded, match="reset"):
            envs.reset(options={"reset_mask": np.array([True, False, False])})
        assert_goes_on(envs, what, tally, point + 1, where)
        return
    step = assert_batch(envs.step(actions(8))[0], 8)
    assert assert_batch(envs.step(actions(9))[0], 9) == step + 1, where


@pytest.mark.parametrize("every", [97, EACH])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("what", BATCH_ACTS)
def test_at_every_line(what: str, workers: int, every: int) -> None:
    tally = Tally()
    with made(workers) as envs:
        interrupt_at_each(lambda: BATCH_ACTS[what](envs), partial(assert_goes_on, envs, what, tally), every, tally)
    tally.check()


@NEEDS_BYTECODES
@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("what", ["step", "halves of step"])
def test_at_every_bytecode(what: str, workers: int) -> None:
    tally = Tally()
    with made(workers) as envs:
        check = partial(assert_goes_on, envs, what, tally)
        interrupt_at_each(lambda: BATCH_ACTS[what](envs), check, 1, tally, kinds=BYTECODE_KINDS, bytecodes=True)
    tally.check()


def first_ready(envs: RemoteVectorEnv, sent: dict[int, int]) -> None:
    """Envs are sent one by one and received; ``sent`` is what each has been sent and has not given back yet."""
    for index in (2, 0, 1):
        if index not in envs.in_flight:
            sent[index] = OTHER + index
            envs.send(actions(OTHER)[index : index + 1], [index])
    for _ in range(2):
        observations, *_, env_ids = envs.recv(1, 2)
        for row, index in enumerate(env_ids.tolist()):
            number = sent.pop(index)
            assert observations["answers"][row, 1:].tolist() == [number, -7 * number]


@LOADS
@pytest.mark.parametrize("timers", [12, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("workers", [1, 3])
def test_timers_at_random_moments(workers: int, timers: int, load: int) -> None:
    """The handler of SIGALRM raises while a loop steps and renders, or sends and receives and then resets."""
    tally = Tally()

    def loop(number: int) -> None:
        sent: dict[int, int] = {}
        while number % 2:  # the check resets after an odd number
            first_ready(envs, sent)
        while True:
            for what in ("step", "render", "halves of step", "reset"):
                BATCH_ACTS[what](envs)

    def check(number: int, where: str) -> None:
        while envs.in_flight:
            envs.recv()
        assert_goes_on(envs, "halves of step", tally, number, where)

    with made(workers) as envs:
        interrupt_at_random(loop, check, timers, load, tally)
    tally.check()


@pytest.mark.parametrize("every", [311, EACH])
@pytest.mark.parametrize("workers", [1, 3])
def test_first_ready_at_every_line(workers: int, every: int) -> None:
    """What is in flight comes once, or was lost with the call that gave it; each env's next step is its own."""
    tally, sent = Tally(), dict[int, int]()

    def act(envs: RemoteVectorEnv) -> None:
        sent.clear()
        first_ready(envs, sent)
        while envs.in_flight:
            envs.recv()

    def check(point: int, where: str) -> None:
        left = [index for index in sent if index in envs.in_flight]
        assert {*envs.in_flight} == {*left}, where
        tally["lost"] += len(sent) - len(left)
        received: list[int] = []
        while envs.in_flight:
            observations, *_, env_ids = envs.recv()
            for answer in observations["answers"][:, 1].tolist():
                assert answer - OTHER in left, where
            received += env_ids.tolist()
        assert sorted(received) == sorted(left), where
        assert envs.step(actions(7))[0]["answers"][:, 1:].tolist() == actions(7).tolist(), where

    with made(workers) as envs:
        interrupt_at_each(lambda: act(envs), check, every, tally)
    tally.check()


@pytest.mark.parametrize("every", [61, EACH])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reset_that_fails_at_every_line(workers: int, every: int) -> None:
    """What is in flight after the interrupt comes once: the error of one env, the results of the others."""
    tally = Tally()

    def outcomes(envs: RemoteVectorEnv) -> list[int]:
        found = []
        while envs.in_flight:
            try:
                found += envs.recv()[5].tolist()
            except TypeError:
                found.append(1)
        return found

    def act(envs: RemoteVectorEnv) -> None:
        envs.reset_async(seed=1)
        outcomes(envs)

    def check(point: int, where: str) -> None:
        in_flight = [*envs.in_flight]
        tally["in flight"] += len(in_flight)
        assert sorted(outcomes(envs)) == sorted(in_flight), where
        envs.set_attr("armed", [{}, {}, {}])
        envs.reset()
        assert envs.step(np.zeros(3, np.int64))[0]["count"].tolist() == [1] * 3, where
        envs.set_attr("armed", [{}, {"reset": "TypeError"}, {}])

    with made(workers, env_id="Misbehaving-v0", imports=["misbehaving"]) as envs:
        check(0, "")
        interrupt_at_each(lambda: act(envs), check, every, tally)
    tally.check()


def interrupt_closes_of(workers: int, every: int) -> None:
    made = partial(remote, "Faulty", NUM_ENVS, entry_point="faulty:FaultyEnv", workers=workers, prefork=True)
    interrupt_closes(made, lambda envs: [target["pid"] for target in envs.targets], every)


@pytest.mark.parametrize(("workers", "every"), [(3, 173), pytest.param(1, 11, marks=pytest.mark.long)])
def test_close_at_some_lines(workers: int, every: int) -> None:
    """close() can be called again, and then nothing is left. It also ends the fork server."""
    interrupt_closes_of(workers, every)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 3])
def test_close_at_every_line(workers: int) -> None:
    """Each point needs new envs. The first one keeps the fork server from which all others come."""
    with remote("Faulty", NUM_ENVS, entry_point="faulty:FaultyEnv", prefork=True):
        interrupt_closes_of(workers, 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_half_whose_beginning_was_interrupted_is_that_of_its_own_call(workers: int) -> None:
    """The step was sent. A half of another kind came before, and what it has left must not decide."""
    with made(workers) as envs:
        halves(envs, "call", "number")
        with interrupted_at_return(Workers.begin), pytest.raises(Late):
            envs.step_async(actions(OTHER))
        for other in (envs.reset_wait, envs.call_wait):
            with pytest.raises(NoAsyncCallError, match=r"a step has begun.*\n  try: step_wait\(\)"):
                other()
        assert_batch(envs.step_wait()[0], OTHER)
        assert_batch(envs.step(actions(7))[0], 7)


@contextmanager
def made_small(workers: int, num_envs: int) -> Iterator[RemoteVectorEnv]:
    """As ``made``, with envs whose answers are small and without infos, so that they are read where they arrive."""
    with made(workers, num_envs, entry_point="small_steps:SmallEnv") as envs:
        yield envs


@pytest.mark.parametrize("every", [61, EACH])
@pytest.mark.parametrize(("workers", "num_envs"), [(1, 2), (2, 3), (3, 3)])
def test_small_answers_at_every_line(workers: int, num_envs: int, every: int) -> None:
    """No result comes twice or is another step's. Each env has made the step that was sent, or has not."""
    tally, sent, received = Tally(), dict[int, int](), list[tuple[int, list[int]]]()
    counts = np.zeros(num_envs, np.int64)  # of the steps of each env
    ids, numbers = np.arange(num_envs), itertools.count(1)

    def receive(envs: RemoteVectorEnv) -> None:
        observations, *_, env_ids = envs.recv()
        received.extend(zip(env_ids.tolist(), observations.tolist(), strict=True))

    def act(envs: RemoteVectorEnv) -> None:
        sent.clear()
        received.clear()
        number = next(numbers)
        for part in (ids[1:], ids[:1]):
            sent.update((env_id, number + env_id) for env_id in part.tolist())
            envs.send(number + part, part)
        while envs.in_flight:
            receive(envs)

    def check(point: int, where: str) -> None:
        while envs.in_flight:
            receive(envs)
        assert len({env_id for env_id, _ in received}) == len(received), where
        made_step = envs.step(ids)[0]
        steps = made_step[:, 0] - counts - 1
        assert set(steps.tolist()) <= {0, 1}, where
        for env_id, (count, action) in received:
            assert (count, action, steps[env_id]) == (counts[env_id] + 1, sent[env_id], 1), where
        tally["lost"] += int(steps.sum()) - len(received)
        assert made_step[:, 1].tolist() == ids.tolist(), where
        counts[:] = made_step[:, 0]

    with made_small(workers, num_envs) as envs:
        interrupt_at_each(lambda: act(envs), check, every, tally)
    tally.check()


@pytest.mark.parametrize("workers", [2, 3])
def test_envs_are_sent_again_only_when_all_are_in_one_step(workers: int) -> None:
    """One worker has made a step that the others have not, since the call was interrupted then."""
    with made_small(workers, NUM_ENVS) as envs:
        with interrupted_at_return(Exchange.send_call), pytest.raises(Late):
            envs.step(np.full(NUM_ENVS, OTHER))
        for given in (np.arange(NUM_ENVS), np.arange(NUM_ENVS, dtype=np.int32)):  # the layout fits, and does not fit
            with pytest.raises(ResetNeeded, match="reset"):
                envs.send(given)
        assert envs.in_flight == ()
        envs.reset()
        envs.send(np.arange(NUM_ENVS))
        assert sorted(envs.recv(NUM_ENVS)[0].tolist()) == [[1, number] for number in range(NUM_ENVS)]
