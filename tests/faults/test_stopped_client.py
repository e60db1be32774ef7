"""A client stopped (Ctrl-Z) in the middle of a call: an answer that arrived in time counts, even if it is read late."""

import os
import signal
import time

import pytest
from support import polling, procfs
from support.clients import client
from support.clock import Clock
from support.faulty import TRANSPORTS, armed

from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

LIMIT_S = 0.5
STOPPED_S = 1.2

# 12 MB fit into no socket or pipe, so the server waits until the client reads on.
STEPS = f"""
transport, side = os.environ["FAULTS_CASE"].split(",")
with faulty(transport=transport, side=int(side), arena_mib=0, timeouts={{"step": {LIMIT_S}}}) as env:
    env.reset()
    say(env.target["pid"])
    for number in range(1, 3):
        hear()
        env.call("slow_down", 0.3)
        say("stepping")
        try:
            observation = act(env, "step", number)[0]
        except errors.CallTimeout as error:
            say("CallTimeout", error.state)
            break
        say(observation["answers"].tolist(), bool((observation["image"] == number).all()))
"""


@pytest.mark.parametrize("side", [pytest.param(8, marks=pytest.mark.long), 2000], ids=["a small answer", "a large one"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answer_that_came_while_the_client_was_stopped_is_read(transport: str, side: int) -> None:
    with client(STEPS, {"FAULTS_CASE": f"{transport},{side}"}) as running:
        server = int(running.says())
        for number in range(1, 3):
            running.hears()
            assert running.says() == "stepping"
            os.kill(running.pid, signal.SIGSTOP)
            polling.until_state(running.pid, "T")
            stopped_at = time.monotonic()
            polling.until(lambda: time.monotonic() - stopped_at > STOPPED_S, "the timeout")  # noqa: B023
            assert procfs.state(server)
            os.kill(running.pid, signal.SIGCONT)
            assert running.says() == f"[{number}, {number}, {-7 * number}] True"
        assert running.end() == 0
        assert running.errors() == ""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_both_sides_stopped_end_in_the_answer_or_in_a_timeout(transport: str) -> None:
    """When the client looks again, the server may not have run for long enough to answer."""
    with client(STEPS, {"FAULTS_CASE": f"{transport},2000"}) as running:
        server = int(running.says())
        running.hears()
        assert running.says() == "stepping"
        for pid in (running.pid, server):
            os.kill(pid, signal.SIGSTOP)
            polling.until_state(pid, "T")
        for pid in (server, running.pid):
            os.kill(pid, signal.SIGCONT)
        assert running.says() in ("[1, 1, -7] True", "CallTimeout busy", "CallTimeout blocked")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_says_nothing_is_not_waited_for_any_longer(transport: str) -> None:
    with armed("step", "asleep in Python", transport=transport, timeouts={"step": LIMIT_S}) as env:
        clock = Clock()
        with pytest.raises(errors.CallTimeout):
            env.step(env.action_space.sample())
        assert clock.is_within(LIMIT_S, LIMIT_S + 1.0)
