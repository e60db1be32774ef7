"""After an interrupt: the simulator still carries out the interrupted call, and the next call waits for it."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from support import polling
from support.faulty import act, assert_exact, faulty
from support.interrupts import KINDS, OTHER, Late, interrupted_after

from gym_service import errors
from gym_service.client.call_queue import new_ticket

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


def test_a_step_that_takes_long_is_carried_out_and_its_answer_dropped() -> None:
    with faulty() as env:
        env.reset()
        env.call("slow_down", 0.5)
        with interrupted_after(0.1, Late), pytest.raises(Late):
            act(env, "step", OTHER)
        observation = act(env, "step", 7)[0]
        assert observation["answers"].tolist() == [2, 7, -49], "the interrupted step was made"


def test_the_next_call_waits_for_the_interrupted_one_within_its_own_timeout() -> None:
    with faulty(timeouts={"reset": 0.5}, restart="on-reset") as env:
        env.reset()
        env.call("arm", "step", "asleep in Python")
        with interrupted_after(0.1, Late), pytest.raises(Late):
            act(env, "step", OTHER)
        with pytest.raises(errors.CallTimeout, match="the end of the step that was interrupted") as caught_timeout:
            env.reset()
        assert caught_timeout.value.during == "reset"
        assert_exact(env, 3)  # on another server


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_simulator_raises_is_told_from_what_a_handler_raises(kind: type[BaseException]) -> None:
    with faulty() as env:
        env.reset()
        for _ in range(3):
            with pytest.raises(errors.EnvError):
                env.call("no_such_method")
            with interrupted_after(0.05, kind), pytest.raises(kind):
                [act(env, "step", OTHER) for _ in range(100_000)]
            assert_exact(env, 2)


@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_a_large_call_that_was_half_sent_arrives_as_it_was(transport: str) -> None:
    """The rest is sent later, without the changes that the caller has made to the array since then."""
    with faulty(transport=transport) as env:
        env.reset()
        pid = env.target["pid"]
        for number in range(2):
            sent = np.full(2**20, number, np.int64)
            os.kill(pid, signal.SIGSTOP)  # so that the server reads nothing, and the rest stays here
            polling.until_state(pid, "T")
            with interrupted_after(1.0, Late), pytest.raises(Late):
                env.call("keep", sent)
            sent[:] = -1
            os.kill(pid, signal.SIGCONT)
            assert (env.get_wrapper_attr("kept") == number).all()
        assert_exact(env, 3)


def test_a_ticket_that_nobody_uses_any_more_keeps_nobody_waiting() -> None:
    """A second interrupt, during the handling of the first one, leaves such a ticket."""
    with faulty(timeouts={"reset": 5.0}) as env:
        connection = env._connection
        for _ in range(3):
            connection._tickets.insert(0, new_ticket())
            assert_exact(env, 2)
            assert connection._tickets == []


def test_a_ticket_that_another_thread_uses_is_left_alone() -> None:
    over = threading.Event()

    def hold() -> None:
        ticket = new_ticket()
        env._connection._tickets.append(ticket)
        over.wait(polling.TIMEOUT_S)
        env._connection._queue.leave(ticket)

    with faulty(timeouts={"render": 0.5}) as env:
        env.reset()
        thread = threading.Thread(target=hold)
        thread.start()
        polling.until(lambda: env._connection._tickets, "the other thread")
        with pytest.raises(errors.CallTimeout, match=r"waited 0\.5 s for the") as caught_timeout:
            env.render()
        assert caught_timeout.value.state == "waiting"
        over.set()
        thread.join(polling.TIMEOUT_S)
        assert_exact(env, 2)


def test_two_threads_and_an_interrupt() -> None:
    """A thread that waits for its turn gets it, whatever happens to the call before it."""
    with faulty() as env:
        env.reset()
        found: list[Any] = []
        env.call("slow_down", 0.5)
        other = threading.Thread(target=lambda: found.append(env.get_wrapper_attr("number")))
        other.start()
        with interrupted_after(0.2, Late), pytest.raises(Late):
            [act(env, "step", OTHER) for _ in range(100_000)]
        other.join(polling.TIMEOUT_S)
        assert len(found) == 1
        assert_exact(env, 3)
