"""Exceptions of signal handlers at any line and moment of a call: the user gets the exception, and the env goes on.

Each test checks that the exception is the user's own, that the next steps answer their own actions, and that the server
is still the same. The short forms try about every tenth point, other points each time; the long forms try every point
and every bytecode.
"""

import contextlib
import gc
import random
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
from support import procfs
from support.faulty import act, assert_exact, faulty
from support.interrupts import (
    BYTECODE_KINDS,
    EACH,
    KINDS,
    LOADS,
    NEEDS_BYTECODES,
    OTHER,
    Late,
    Tally,
    assert_unchanged,
    caught,
    forget_handled,
    interrupt_at_each,
    interrupt_at_random,
    interrupt_closes,
    interrupted_at,
    is_in_client,
)

from gym_service import RemoteEnv

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# The share of interrupts after which the next reset() must work without a new server.
LEAST_USABLE = 0.95

ACTS: dict[str, Callable[[RemoteEnv], Any]] = {
    "step": lambda env: act(env, "step", OTHER),
    "reset": lambda env: env.reset(),
    "render": lambda env: env.render(),
    "attribute": lambda env: env.get_wrapper_attr("number"),
    "call": lambda env: env.call("echo", np.zeros(50_000, np.uint8)),
}


def assert_goes_on(env: RemoteEnv, number: int, where: str) -> None:
    """The next step must answer its own action (for an odd number: after a reset), and so must a few more."""
    resets = number % 2
    if resets:
        assert env.reset()[0]["answers"].tolist() == [0, 0, 0], where
    observation, reward, *_ = act(env, "step", 7)
    assert observation["answers"].tolist()[1:] == [7, -49], where
    assert reward == 7.0
    assert not resets or observation["answers"][0] == 1, where
    assert (observation["image"] == 7).all(), where
    assert_exact(env, 2)


@pytest.mark.parametrize("every", [23, EACH])
@pytest.mark.parametrize(("transport", "side"), [("unix", 96), ("stdio", 160)])
@pytest.mark.parametrize("what", ACTS)
def test_at_every_line(what: str, transport: str, side: int, every: int) -> None:
    tally = Tally()
    with faulty(transport=transport, side=side) as env:
        env.reset()
        pid = env.target["pid"]
        interrupt_at_each(lambda: ACTS[what](env), partial(assert_goes_on, env), every, tally)
        assert env.target["pid"] == pid
    tally.check()


@NEEDS_BYTECODES
@pytest.mark.parametrize("every", [311, EACH])
@pytest.mark.parametrize("what", ["step", "reset"])
def test_at_every_bytecode(what: str, every: int) -> None:
    tally = Tally()
    with faulty() as env:
        env.reset()
        check = partial(assert_goes_on, env)
        interrupt_at_each(lambda: ACTS[what](env), check, every, tally, kinds=BYTECODE_KINDS, bytecodes=True)
    tally.check()


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
            assert_unchanged(error, found)
            if found.raised is None:
                break
            tally["interrupts"] += 1
            assert_exact(env, 8)
            assert len(procfs.open_fds()) == fds, found.where
            tally["usable"] += 1
        if every > 1 and tally["interrupts"] >= 30:
            break
    tally.check()


@contextmanager
def reset_once(**given: Any) -> Iterator[RemoteEnv]:
    with faulty(**given) as env:
        env.reset()
        yield env


def server(env: RemoteEnv) -> list[int]:
    return [env.target["pid"]]


@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_close_at_some_lines(transport: str) -> None:
    """close() can be called again, and then nothing is left."""
    interrupt_closes(partial(reset_once, transport=transport), server, 40)


@pytest.mark.long
@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_close_at_every_line(transport: str) -> None:
    """Each point needs a new env. The first one keeps the fork server from which all others come."""
    with faulty(transport=transport, prefork=True):
        interrupt_closes(partial(reset_once, transport=transport, prefork=True), server, 1)


@LOADS
@pytest.mark.parametrize("timers", [40, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_timers_at_random_moments(transport: str, timers: int, load: int) -> None:
    """The usual timeout decorator, repeatedly: the handler of SIGALRM raises while a loop steps and renders."""
    tally = Tally()

    def loop(number: int) -> None:
        for what in ("step", "render", "step", "reset") * 500:
            act(env, what, OTHER)

    with faulty(transport=transport, side=160) as env:
        env.reset()
        interrupt_at_random(loop, partial(assert_goes_on, env), timers, load, tally)
    tally.check(usable=LEAST_USABLE)


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
                assert_goes_on(env, number, str(number))
                tally["usable"] += 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    tally.check(usable=0.0)


def takes_nothing() -> None:
    with contextlib.suppress(IndexError):
        [].pop()


def test_the_harness_drops_what_an_interrupted_handler_kept() -> None:
    """CPython from 3.11 on keeps an exception, and all callers' variables: the other tests would call it a leak."""

    def calls() -> "weakref.ref[set[int]]":
        held = {1}
        with interrupted_at(2, Late, modules=(__name__,), functions=(takes_nothing.__name__,)) as found:
            caught(takes_nothing)
        assert found.raised is not None
        return weakref.ref(held)

    held = calls()
    forget_handled()
    gc.collect()
    assert held() is None
