"""Threads that share an env: whole calls take turns, half a call refuses all others, and close() wakes all threads."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from support import polling
from support.clock import Clock
from support.faulty import PROMPT_S, TRANSPORTS, act, action, assert_exact, calls_of, faulty
from support.vector_play import remote

from gym_service import RemoteEnv, errors
from gym_service.client.call_queue import CallQueue, new_ticket

pytestmark = pytest.mark.slow

ACTS: dict[str, Callable[[RemoteEnv], Any]] = {
    "step": lambda env: act(env, "step"),
    "step_async": lambda env: env.step_async(action(1)),
    "reset": lambda env: env.reset(),
    "render": lambda env: env.render(),
    "attribute": lambda env: env.get_wrapper_attr("number"),
}


def in_thread(do: Callable[[], Any]) -> Any:
    """The result or the exception of ``do``, from a thread that has ended afterwards."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(do).result(polling.TIMEOUT_S)


@contextmanager
def beside(do: Callable[[], Any]) -> Iterator[list[Any]]:
    """The result or the exception of ``do``, from a thread that runs during the block."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(do())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        thread.join(polling.TIMEOUT_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize("where", ["the same thread", "another thread"])
def test_while_half_a_call_is_pending_any_other_is_refused(what: str, where: str) -> None:
    """Also after the thread that started it has ended."""
    with faulty() as env:
        env.reset()
        in_thread(lambda: env.step_async(action(7)))
        clock = Clock()
        with pytest.raises(AlreadyPendingCallError, match="waits for its answer"):
            ACTS[what](env) if where == "the same thread" else in_thread(lambda: ACTS[what](env))
        assert clock.took_s <= PROMPT_S
        assert in_thread(env.step_wait)[0]["answers"].tolist() == [1, 7, -49]
        with pytest.raises(NoAsyncCallError):
            env.step_wait()
        assert_exact(env, 2)


def test_a_half_is_waited_for_once() -> None:
    with faulty() as env:
        env.reset()
        env.call("slow_down", 0.3)
        env.step_async(action(7))
        with beside(env.step_wait) as first, beside(env.step_wait) as second:
            pass
        results = [each for each in (*first, *second) if not isinstance(each, Exception)]
        refused = [each for each in (*first, *second) if isinstance(each, Exception)]
        assert [each[0]["answers"].tolist() for each in results] == [[1, 7, -49]]
        assert [type(each) for each in refused] == [NoAsyncCallError]
        assert_exact(env, 2)


def test_asyncio_and_executors() -> None:
    async def play(env: RemoteEnv) -> list[int]:
        loop, numbers = asyncio.get_running_loop(), []
        for number in range(1, 20):
            await loop.run_in_executor(None, env.step_async, action(number))
            result = await loop.run_in_executor(None, env.step_wait)
            assert result[0]["answers"].tolist() == [number, number, -7 * number]
            numbers.append(number)
        return numbers

    with faulty() as env:
        env.reset()
        assert asyncio.run(play(env)) == list(range(1, 20))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_close_frees_all_that_wait(transport: str) -> None:
    with faulty(transport=transport, timeouts={"close": 0.5}) as env:
        env.reset()
        env.call("arm", "step", "asleep in Python")
        calls = calls_of(env.target["pid"])
        with beside(lambda: act(env, "step")) as stepping:
            polling.until(lambda: calls_of(env.target["pid"]) > calls, "the call")
            with beside(env.render) as rendering, beside(env.reset) as resetting:
                polling.until(lambda: len(env._connection._tickets) == 3, "both to wait")
                env.close()
        assert [type(each) for each in (*stepping, *rendering, *resetting)] == [errors.ClosedError] * 3


def test_close_frees_a_half_and_what_waits_for_it() -> None:
    with faulty(timeouts={"close": 0.5}) as env:
        env.reset()
        env.call("arm", "step", "asleep in Python")
        in_thread(lambda: env.step_async(action(1)))
        with beside(env.step_wait) as waiting:
            polling.until(lambda: env._connection._queue.half is None, "the other thread")
            env.close()
        assert [type(each) for each in waiting] == [errors.ClosedError]
        with pytest.raises(errors.ClosedError):
            env.step_wait()


def test_a_whole_call_waits_at_most_its_own_timeout_and_closes_nothing() -> None:
    with faulty(timeouts={"render": 0.5}) as env:
        env.reset()
        env.call("slow_down", 2.0)
        calls = calls_of(env.target["pid"])
        with beside(lambda: act(env, "step", 7)) as stepping:
            polling.until(lambda: calls_of(env.target["pid"]) > calls, "the call")
            clock = Clock()
            with pytest.raises(errors.CallTimeout, match="the step of another thread") as caught:
                env.render()
            assert clock.is_within(0.5, 0.5 + PROMPT_S)
            assert (caught.value.state, caught.value.during) == ("waiting", "render")
            assert calls_of(env.target["pid"]) == calls + 1, "nothing was sent"
        assert stepping[0][0]["answers"].tolist() == [1, 7, -49]
        assert_exact(env, 2)


def test_nobody_is_left_out() -> None:
    """One thread steps as fast as it can, others call from time to time: each gets its turn and its own answer."""
    with faulty() as env:
        env.reset()
        over = threading.Event()

        def step() -> int:
            number = 0
            while not over.is_set():
                number += 1
                assert act(env, "step", number)[0]["answers"].tolist() == [number, number, -7 * number]
            return number

        def look(mine: int) -> int:
            for number in range(50):
                assert env.call("echo", [mine, number]) == [mine, number]
            return mine

        with beside(step) as stepping:
            with beside(lambda: look(1)) as first, beside(lambda: look(2)) as second:
                pass
            over.set()
        assert (first, second) == ([1], [2])
        assert isinstance(stepping[0], int)
        assert stepping[0] > 0


def test_a_handler_that_calls_the_env_in_the_middle_of_a_call_is_refused() -> None:
    import signal

    refused: list[BaseException] = []

    def handler(number: int, frame: object) -> None:
        try:
            env.render()
        except AlreadyPendingCallError as error:
            refused.append(error)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with faulty() as env:
            env.reset()
            env.call("slow_down", 0.5)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert act(env, "step", 7)[0]["answers"].tolist() == [1, 7, -49]
            assert len(refused) == 1
            assert "by this thread in the middle of step" in str(refused[0])
            assert_exact(env, 2)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_vector_env_likewise(workers: int) -> None:
    actions = np.array([[1, -7], [2, -14]], np.int64)
    with remote("Faulty", 2, entry_point="faulty:FaultyEnv", workers=workers) as envs:
        envs.reset()
        in_thread(lambda: envs.step_async(actions))
        for refused in (lambda: envs.step(actions), envs.reset, envs.render, lambda: envs.get_attr("number")):
            with pytest.raises(AlreadyPendingCallError):
                refused()
        assert in_thread(envs.step_wait)[0]["answers"].tolist() == [[1, 1, -7], [1, 2, -14]]
        with pytest.raises(NoAsyncCallError):
            envs.step_wait()
        in_thread(lambda: envs.step_async(actions))
        envs.close()
        with pytest.raises(errors.ClosedError):
            envs.step_wait()


def test_no_two_threads_ever_have_their_turn_at_once() -> None:
    """With threads that switch all the time, so that one leaves while another checks its ticket."""
    queue, inside, most, turns = CallQueue(), [0], [0], 3000

    class Calls:
        during = "step"

        def refuse(self) -> None:
            pass

    def take_turns() -> None:
        for _ in range(turns):
            ticket = new_ticket()
            queue.tickets.append(ticket)
            if queue.tickets[0] is not ticket:
                queue.wait_for_turn(ticket, Calls(), "step", polling.TIMEOUT_S)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1
            queue.tickets.remove(ticket)
            queue.wake(1)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(take_turns) for _ in range(4)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    assert most == [1]


def test_threads_that_reset_after_a_crash_start_one_server() -> None:
    with faulty(restart="on-reset") as env:
        env.reset()
        env.call("arm", "step", "SIGKILL")
        with pytest.raises(errors.ServerCrashed):
            act(env, "step")
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(env.reset) for _ in range(2)]:
                done.result()
        assert_exact(env, 5)
