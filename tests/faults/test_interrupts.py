"""Exceptions of signal handlers at any line and moment of a call: the user gets the exception, and the env goes on.

Each test checks that the exception is the user's own, that the next steps answer their own actions, and that the server
is still the same. The short forms try about every tenth point, other points each time; the long forms try every point
and every bytecode.
"""

import contextlib
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ResetNeeded
from support import procfs
from support.faulty import act, assert_exact, faulty
from support.interrupts import KINDS, OTHER, Interruption, Late, caught, interrupted_after, interrupted_at, is_in_client
from support.vector_play import remote

from gym_service import RemoteEnv, RemoteVectorEnv, errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

EACH = pytest.param(1, marks=pytest.mark.long)
NUM_ENVS = 3
# The share of interrupts after which the next reset() must work without a new server.
LEAST_USABLE = 0.95


class Tally(Counter[str]):
    """Counts the outcomes of the env after each interrupt."""

    def check(self, *, usable: float = LEAST_USABLE) -> None:
        print(dict(self))
        assert self["interrupts"] > 0
        assert self["usable"] >= usable * self["interrupts"], dict(self)


def is_same(error: BaseException | None, found: Interruption) -> None:
    """Assert that the call raised the user's own exception."""
    if found.raised is not None:
        assert error is found.raised, (found.where, error)
    elif error is not None:
        raise error


ACTS: dict[str, Callable[[RemoteEnv], Any]] = {
    "step": lambda env: act(env, "step", OTHER),
    "reset": lambda env: env.reset(),
    "render": lambda env: env.render(),
    "attribute": lambda env: env.get_wrapper_attr("number"),
    "call": lambda env: env.call("echo", np.zeros(50_000, np.uint8)),
}


def assert_goes_on(env: RemoteEnv, resets: bool, where: str) -> None:
    """The next step must answer its own action (``resets``: after a reset), and so must a few more."""
    if resets:
        assert env.reset()[0]["answers"].tolist() == [0, 0, 0], where
    observation, reward, *_ = act(env, "step", 7)
    assert observation["answers"].tolist()[1:] == [7, -49], where
    assert reward == 7.0
    assert not resets or observation["answers"][0] == 1, where
    assert (observation["image"] == 7).all(), where
    assert_exact(env, 2)


def interrupt_each(
    env: RemoteEnv, what: str, kind: type[BaseException], points: range, tally: Tally, **how: Any
) -> None:
    """Interrupt a call at each of these points, until the call has no more points."""
    for point in points:
        with interrupted_at(point, kind, **how) as found:
            error = caught(lambda: ACTS[what](env))
        is_same(error, found)
        if found.raised is None:
            return
        tally["interrupts"] += 1
        assert_goes_on(env, bool(point % 2), found.where)
        tally["usable"] += 1
    raise AssertionError(f"more points than {points}")


@pytest.mark.parametrize("every", [23, EACH])
@pytest.mark.parametrize(("transport", "side"), [("unix", 96), ("stdio", 160)])
@pytest.mark.parametrize("what", ACTS)
def test_at_every_line(what: str, transport: str, side: int, every: int) -> None:
    tally = Tally()
    with faulty(transport=transport, side=side) as env:
        env.reset()
        pid = env.target["pid"]
        for number, kind in enumerate(KINDS):
            interrupt_each(env, what, kind, range(number * every // len(KINDS), 5000, every), tally)
        assert env.target["pid"] == pid
    tally.check(usable=1.0)


@pytest.mark.parametrize("every", [311, EACH])
@pytest.mark.parametrize("what", ["step", "reset"])
def test_at_every_bytecode(what: str, every: int) -> None:
    if sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in Python 3.12")
    tally = Tally()
    with faulty() as env:
        env.reset()
        for kind in (KeyboardInterrupt, TimeoutError):
            interrupt_each(env, what, kind, range(0, 50_000, every), tally, bytecodes=True)
    tally.check(usable=1.0)


@pytest.mark.parametrize("every", [11, EACH])
def test_at_every_line_of_the_first_frames(every: int) -> None:
    """Where shared memory is made, announced and mapped. No memory, descriptor or map is left behind."""
    tally = Tally()
    for point in range(0, 5000, every):
        with faulty(side=200) as env:
            env.reset()
            fds = len(procfs.open_fds())
            with interrupted_at(point, KINDS[point % len(KINDS)]) as found:
                error = caught(lambda: [env.reset(), env.render()])
            is_same(error, found)
            if found.raised is None:
                break
            tally["interrupts"] += 1
            assert_exact(env, 8)
            assert len(procfs.open_fds()) == fds, found.where
            tally["usable"] += 1
        if every > 1 and tally["interrupts"] >= 30:
            break
    tally.check(usable=1.0)


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


def half_by_half(envs: RemoteVectorEnv) -> None:
    envs.step_async(actions(OTHER))
    envs.step_wait()


BATCH_ACTS: dict[str, Callable[[RemoteVectorEnv], Any]] = {
    "step": lambda envs: envs.step(actions(OTHER)),
    "halves": half_by_half,
    "reset": lambda envs: envs.reset(),
    "call": lambda envs: envs.call("number"),
}


def assert_batch_goes_on(envs: RemoteVectorEnv, what: str, resets: bool, tally: Tally) -> None:
    """Assert that all workers are in the same step, or say that a reset is needed."""
    try:
        if resets:
            envs.reset()
        step = assert_batch(envs.step(actions(7))[0], 7)
        assert not resets or step == 1
    except AlreadyPendingCallError:
        # The interrupt came before step_wait() began: the call is still pending, and can be waited for.
        assert what == "halves"
        assert_batch(envs.step_wait()[0], OTHER)
        tally["still pending"] += 1
        assert_batch_goes_on(envs, what, resets, tally)
        return
    except ResetNeeded:
        assert len(envs.targets) > 1
        assert not resets
        tally["reset needed"] += 1
        with pytest.raises(ResetNeeded, match="reset"):
            envs.reset(options={"reset_mask": np.array([True, False, False])})
        assert_batch_goes_on(envs, what, True, tally)
        return
    assert assert_batch(envs.step(actions(8))[0], 8) == step + 1


@pytest.mark.parametrize("every", [61, EACH])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("what", BATCH_ACTS)
def test_a_vector_env_at_every_line(what: str, workers: int, every: int) -> None:
    tally = Tally()
    with remote("Faulty", NUM_ENVS, entry_point="faulty:FaultyEnv", workers=workers, kwargs={"side": 96}) as envs:
        envs.reset()
        pids = [target["pid"] for target in envs.targets]
        for number, kind in enumerate(KINDS):
            for point in range(number * every // len(KINDS), 10_000, every):
                with interrupted_at(point, kind) as found:
                    error = caught(lambda: BATCH_ACTS[what](envs))
                is_same(error, found)
                if found.raised is None:
                    break
                tally["interrupts"] += 1
                assert_batch_goes_on(envs, what, bool(point % 2) or what == "reset", tally)
                tally["usable"] += 1
        assert [target["pid"] for target in envs.targets] == pids
    tally.check(usable=1.0)


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


@pytest.mark.parametrize("every", [311, EACH])
@pytest.mark.parametrize("workers", [1, 3])
def test_first_ready_at_every_line(workers: int, every: int) -> None:
    """What is in flight comes once, or was lost with the call that gave it; each env's next step is its own."""
    tally = Tally()
    with remote("Faulty", NUM_ENVS, entry_point="faulty:FaultyEnv", workers=workers, kwargs={"side": 96}) as envs:
        envs.reset()
        pids = [target["pid"] for target in envs.targets]
        for number, kind in enumerate(KINDS):
            for point in range(number * every // len(KINDS), 10_000, every):
                sent: dict[int, int] = {}
                with interrupted_at(point, kind) as found:
                    error = caught(lambda: first_ready(envs, sent))  # noqa: B023
                is_same(error, found)
                if found.raised is not None:
                    tally["interrupts"] += 1
                left = [index for index in sent if index in envs.in_flight]
                assert {*envs.in_flight} == {*left}, found.where
                tally["lost"] += len(sent) - len(left)
                received: list[int] = []
                while envs.in_flight:
                    observations, *_, env_ids = envs.recv()
                    for answer in observations["answers"][:, 1].tolist():
                        assert answer - OTHER in left, found.where
                    received += env_ids.tolist()
                assert sorted(received) == sorted(left), found.where
                assert envs.step(actions(7))[0]["answers"][:, 1:].tolist() == actions(7).tolist()
                tally["usable"] += found.raised is not None
                if found.raised is None:
                    break
        assert [target["pid"] for target in envs.targets] == pids
    tally.check(usable=1.0)


@pytest.mark.parametrize("every", [40, EACH])
@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_close_at_every_line(transport: str, every: int) -> None:
    """close() can be called again, and then nothing is left."""
    tally = Tally()
    for point in range(0, 5000, every):
        with faulty(transport=transport) as env:
            env.reset()
            pid = env.target["pid"]
            with interrupted_at(point, KINDS[point % len(KINDS)]) as found:
                error = caught(env.close)
            is_same(error, found)
            env.close()
            assert not procfs.state(pid), found.where
            with pytest.raises(errors.ClosedError):
                env.reset()
        if found.raised is None:
            break
        tally["interrupts"] += 1
        tally["usable"] += 1
    tally.check(usable=1.0)


@contextmanager
def busy(threads: int) -> Iterator[None]:
    """Run threads that compute, so that the main thread has to wait for the GIL and for a processor."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    running = [threading.Thread(target=compute) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


@pytest.mark.parametrize("load", [0, 2], ids=["quiet", "loaded"])
@pytest.mark.parametrize("timers", [40, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_timers_at_random_moments(transport: str, timers: int, load: int) -> None:
    """The usual timeout decorator, repeatedly: the handler of SIGALRM raises while a loop steps and renders."""
    chosen, tally = random.Random(timers + load), Tally()
    with faulty(transport=transport, side=160) as env, busy(load):
        env.reset()
        for number in range(timers):
            kind = KINDS[number % len(KINDS)]
            with interrupted_after(chosen.uniform(1e-4, 1e-2), kind) as raised:
                error = caught(lambda: [act(env, what, OTHER) for what in ("step", "render", "step", "reset") * 500])
            assert raised
            assert error is raised[0]
            tally["interrupts"] += 1
            assert_goes_on(env, bool(number % 2), str(number))
            tally["usable"] += 1
    tally.check()


@pytest.mark.parametrize("timers", [15, pytest.param(500, marks=pytest.mark.long)])
def test_timers_that_interrupt_what_the_first_has_left(timers: int) -> None:
    """An interrupt during the handling of an earlier one. No call may hang, and none may get a wrong answer."""
    chosen, tally = random.Random(timers), Tally()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if is_in_client(frame):  # otherwise it would end the test
            tally["interrupts"] += 1
            raise Late

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with faulty(side=160) as env:
            env.reset()
            for number in range(timers):
                period_s = chosen.uniform(1e-4, 2e-3)
                for _ in range(20):
                    with contextlib.suppress(Late):
                        signal.setitimer(signal.ITIMER_REAL, period_s, period_s)
                        while True:
                            act(env, chosen.choice(["step", "reset"]), OTHER)
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert_goes_on(env, bool(number % 2), str(number))
                tally["usable"] += 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    tally.check(usable=0.0)
