"""Exceptions of signal handlers at any line and bytecode of a step that both sides have compiled.

As in ``test_interrupts.py``: the exception is the user's own, the next steps answer their own actions, and the server
is still the same. The envs of ``small_steps.py`` are small enough for compiled steps; a test asserts that their steps
are.
"""

import threading
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError
from support.called import functions_of
from support.interrupts import (
    EACH,
    KINDS,
    NEEDS_BYTECODES,
    OTHER,
    Tally,
    caught,
    interrupt_at_each,
    interrupted_after,
    interrupted_at,
)
from support.small_forms import FORMS, made

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FORMS)
def test_both_sides_have_compiled_the_step(name: str) -> None:
    with made(name) as (env, step):
        for number in range(3, 24):  # until there are slots for large observations
            step(number)
        called = functions_of(lambda: step(24))
        assert "exchange" in called
        assert not called & {"open_call", "send_call", "read_answer", "await_frame"}
        assert "act" in FORMS[name].attribute(env, "callers")  # of gym_service/server/compiled_step.py


def test_both_sides_have_compiled_the_reset_without_arguments() -> None:
    with made("SmallEnv") as (env, _):
        env.reset()
        called = functions_of(env.reset)
        assert "exchange" in called
        assert not called & {"open_call", "send_call", "read_answer", "await_frame"}
        assert "act" in env.reset_by  # of gym_service/server/compiled_reset.py


@pytest.mark.parametrize("every", [3, EACH])
def test_a_reset_at_every_line(every: int) -> None:
    tally, resets = Tally(), 0
    with made("SmallEnv") as (env, step):
        env.reset()

        def check(point: int, where: str) -> None:
            nonlocal resets
            assert tuple(step(7)) in ((1, 7), (2, 7)), where
            observation, info = env.reset()
            assert (observation[0], info) == (0, {}), where
            assert observation[1] - resets in (1, 2), where
            assert tuple(step(8)) == (1, 8), where
            resets = observation[1]

        resets = env.reset()[0][1]
        interrupt_at_each(env.reset, check, every, tally)
    tally.check()


@pytest.mark.parametrize("bytecodes", [False, pytest.param(True, marks=NEEDS_BYTECODES)], ids=["lines", "bytecodes"])
@pytest.mark.parametrize("every", [7, EACH])
@pytest.mark.parametrize("name", FORMS)
def test_at_every_point(name: str, every: int, bytecodes: bool) -> None:
    every = every * 5 - 4 if bytecodes else every
    with made(name) as (env, step):
        last, interrupts, pid = 2, 0, FORMS[name].attribute(env, "process_id")
        for number, kind in enumerate(KINDS):
            for point in range(number * every // len(KINDS), 20_000, every):
                with interrupted_at(point, kind, bytecodes=bytecodes) as found:
                    error = caught(lambda: step(OTHER))
                assert error is found.raised, (found.where, error)
                count, action = step(7)
                assert action == 7, found.where
                assert count - last in ((1, 2) if found.raised else (2,)), found.where
                assert tuple(step(8)) == (count + 1, 8), found.where
                last = count + 1
                if found.raised is None:
                    break
                interrupts += 1
        assert FORMS[name].attribute(env, "process_id") == pid
    print(interrupts, "interrupts")
    assert interrupts > 20


@pytest.mark.parametrize("every", [31, EACH])
@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.action])
def test_halves_at_every_line(name: str, every: int) -> None:
    """Before the second half has begun, the step is still pending, and its result is its own."""
    tally, form = Tally(), FORMS[name]
    assert form.action is not None

    with made(name) as (env, step):

        def halves() -> None:
            env.step_async(form.action(OTHER))
            env.step_wait()

        def check(point: int, where: str) -> None:
            try:
                assert step(7)[1] == 7, where
            except AlreadyPendingCallError:
                observation = env.step_wait()[0]
                pairs = observation[:, 0] if name == "LargeEnv" else observation
                assert (pairs.reshape(-1, 2)[:, 1] == OTHER).all(), where
                tally["still pending"] += 1
                assert step(7)[1] == 7, where

        interrupt_at_each(halves, check, every, tally)
    tally.check()


@pytest.mark.parametrize("timers", [20, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FORMS)
def test_timers_at_random_moments(name: str, timers: int) -> None:
    chosen = np.random.default_rng(timers)
    with made(name) as (_, step):
        for number in range(timers):
            kind = KINDS[number % len(KINDS)]
            with interrupted_after(chosen.uniform(1e-4, 5e-3), kind) as raised:
                error = caught(lambda: [step(OTHER) for _ in range(10**6)])
            assert error is raised[0]
            count, action = step(7)
            assert action == 7
            assert tuple(step(8)) == (count + 1, 8)


@pytest.mark.parametrize("name", FORMS)
def test_threads_that_share_an_env(name: str) -> None:
    answered: list[tuple[Any, Any, int]] = []
    with made(name) as (_, step):

        def run(first: int) -> None:
            for number in range(first, first + 300):
                answered.append((*step(number), number))

        threads = [threading.Thread(target=run, args=(1000 * number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(count for count, _, _ in answered) == list(range(3, 1203))
    assert all(action == number for _, action, number in answered)
