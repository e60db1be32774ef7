"""A server that does not answer: at the deadline an error says why and where it is stuck, and the server is killed."""

import math
import os
import re
import signal
import threading
from typing import Any

import numpy as np
import pytest
from gym_service_launcher.processes import logs
from support import polling, procfs
from support.clock import Clock
from support.faulty import (
    PROMPT_S,
    SIDES,
    TRANSPORTS,
    act,
    action,
    alternately,
    armed,
    assert_exact,
    faulty,
    refused_at_start,
)

from gym_service import RemoteEnv, errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

LIMIT_S = 0.4
LIMITS = {"step": LIMIT_S, "reset": LIMIT_S, "render": LIMIT_S, "call": 30.0}
LONGEST_CLOSE_S = 8.0
SILENCES = {
    "SIGSTOP": "stopped",
    "asleep in C": "blocked",
    "asleep in Python": "blocked",
    "spinning in C": "busy",
    "spinning in Python": "busy",
}
# The function of faulty.py in which the server is stuck. A stopped server cannot report it.
WHERE = {
    "SIGSTOP": "",
    "asleep in C": "sleep_in_c",
    "asleep in Python": "sleep_in_python",
    "spinning in C": "spin_in_c",
    "spinning in Python": "spin_in_python",
}


def assert_times_out(env: RemoteEnv, method: str, fault: str) -> None:
    pid, clock = env.target["pid"], Clock()
    with pytest.raises(errors.CallTimeout) as caught:
        act(env, method)
    assert clock.is_within(LIMIT_S, LIMIT_S + PROMPT_S)
    assert (caught.value.during, caught.value.timeout_s) == (method, LIMIT_S)
    assert_says_why(caught.value.state, caught.value.stack, fault)
    assert not procfs.state(pid)
    with pytest.raises(errors.ClosedError):
        act(env, method)
    clock = Clock()
    env.close()
    assert clock.took_s <= LONGEST_CLOSE_S


def assert_says_why(silence: str, stack: str, fault: str) -> None:
    assert silence == SILENCES[fault]
    if WHERE[fault]:
        assert f" in {WHERE[fault]}\n" in stack
    else:
        assert stack == ""


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fault", SILENCES)
def test_a_silent_step_ends_at_its_deadline(fault: str, transport: str) -> None:
    test_a_silent_call_ends_at_its_deadline(fault, "step", transport)


@pytest.mark.parametrize(("fault", "method", "transport"), alternately(SILENCES, ("reset", "render")))
def test_a_silent_call_ends_at_its_deadline(fault: str, method: str, transport: str) -> None:
    with armed(method, fault, transport=transport, timeouts=LIMITS) as env:
        assert_times_out(env, method, fault)


@pytest.mark.parametrize("target", ["py38-gym026", pytest.param("py38-gymnasium028", marks=pytest.mark.long)])
def test_silence_in_an_old_interpreter(target: str) -> None:
    for fault in SILENCES:
        with armed("step", fault, target=target, timeouts=LIMITS) as env:
            assert_times_out(env, "step", fault)


@pytest.mark.parametrize(("fault", "transport"), alternately(SILENCES))
def test_a_silent_make_ends_at_its_deadline(fault: str, transport: str) -> None:
    error = refused_at_start("last words" if fault == "SIGSTOP" else WHERE[fault], transport, fault, 1.5)
    assert f"({SILENCES[fault]})" in str(error)
    assert str(error).count("(most recent call first)") == (fault != "SIGSTOP"), "the stack is shown once"
    assert len(re.findall("^  try: ", str(error), re.MULTILINE)) == 1


@pytest.mark.parametrize(("fault", "transport"), alternately(SILENCES))
def test_a_server_that_falls_silent_while_idle(fault: str, transport: str) -> None:
    with faulty(transport=transport, timeouts=LIMITS) as env:
        env.reset()
        env.call("arm_signal", fault)
        os.kill(env.target["pid"], signal.SIGUSR1)
        assert_times_out(env, "step", fault)


@pytest.mark.parametrize(("fault", "transport"), alternately([*SILENCES, None]))
def test_close_of_a_silent_server(fault: str | None, transport: str) -> None:
    """If the server is stuck in its own close(), every stage of stopping it is used."""
    with armed("close", fault or "", transport=transport, timeouts={"close": 1.0}) as env:
        pid, clock = env.target["pid"], Clock()
        if fault is None:
            os.kill(pid, signal.SIGSTOP)
        env.close()
        assert clock.took_s <= 1.0 + PROMPT_S
        assert not procfs.state(pid)


@pytest.mark.parametrize("transport", ["unix", pytest.param("stdio", marks=pytest.mark.long)])
def test_close_of_a_stopped_server_with_the_usual_timeouts(transport: str) -> None:
    with faulty(transport=transport) as env:
        os.kill(env.target["pid"], signal.SIGSTOP)
        clock = Clock()
        env.close()
        assert clock.took_s <= LONGEST_CLOSE_S
        assert not procfs.state(env.target["pid"])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_step_just_under_its_limit_gives_its_result(transport: str) -> None:
    with faulty(transport=transport, timeouts={"step": 1.0}) as env:
        env.reset()
        pid = env.target["pid"]
        env.call("slow_down", 0.85)
        observation = env.step(action(5))[0]
        assert observation["answers"].tolist() == [1, 5, -35]
        assert_exact(env, 3)
        assert env.target["pid"] == pid
        assert not logs.of_pid(str(pid)), "no stack was requested"


@pytest.mark.parametrize(("side", "transport"), alternately(SIDES))
def test_no_late_reply_is_anybodys_answer(side: int, transport: str) -> None:
    """The step that timed out has computed its answer. After the restart every reply must match its own action."""
    with faulty(transport=transport, timeouts={"step": LIMIT_S}, restart="on-reset", side=side) as env:
        env.reset()
        first = env.target["pid"]
        env.call("slow_down", LIMIT_S + 0.05)
        with pytest.raises(errors.CallTimeout):
            env.step(action(99))
        assert_exact(env, 1000, first=1000)
        assert env.target["pid"] != first


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_deadline_holds_for_sending_too(transport: str) -> None:
    """Data that the server does not read fills the channel; the call still ends."""
    with faulty(transport=transport, timeouts={"call": LIMIT_S}) as env:
        os.kill(env.target["pid"], signal.SIGSTOP)
        clock = Clock()
        with pytest.raises(errors.CallTimeout) as caught:
            env.call("measure", np.zeros(50 * 2**20, np.uint8))
        assert clock.is_within(LIMIT_S, LIMIT_S + PROMPT_S)
        assert caught.value.state == "stopped"
        assert not procfs.state(env.target["pid"])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_dies_while_much_is_sent_to_it(transport: str) -> None:
    with faulty(transport=transport) as env:
        os.kill(env.target["pid"], signal.SIGSTOP)
        killer = threading.Timer(0.2, os.kill, (env.target["pid"], signal.SIGKILL))
        killer.start()
        clock = Clock()
        with pytest.raises(errors.ServerCrashed) as caught:
            env.call("measure", np.zeros(50 * 2**20, np.uint8))
        assert clock.took_s <= 0.2 + PROMPT_S
        assert caught.value.exit_code == -9
        killer.join()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_timeouts_at_all(transport: str) -> None:
    names = ("start", "reset", "step", "render", "call", "close")
    with faulty(transport=transport, timeouts=dict.fromkeys(names, math.inf)) as env:
        assert_exact(env, 3)
        env.render()
        env.call("slow_down", 0.2)
        env.step(action(1))
        pid = env.target["pid"]
        env.close()
        assert not procfs.state(pid)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_a_timeout_a_death_is_met_all_the_same(transport: str) -> None:
    with armed("step", "SIGSTOP", transport=transport, timeouts={"step": math.inf}) as env:
        pid = env.target["pid"]

        def kill_once_stopped() -> None:
            polling.until_state(pid, "T")
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_once_stopped)
        killer.start()
        with pytest.raises(errors.ServerCrashed):
            env.step(action(1))
        killer.join()


def test_many_silent_servers_at_once_are_each_looked_at() -> None:
    """A vector env meets all its deadlines together, and one guardian observes all its servers."""
    count = 10
    said: list[Any] = []

    def step(env: RemoteEnv) -> None:
        clock = Clock()
        try:
            env.step(action(1))
        except errors.CallTimeout as error:
            said.append((error.state, clock.took_s))

    envs = [faulty(timeouts={"step": 1.0}) for _ in range(count)]
    opened = [env.__enter__() for env in envs]
    try:
        for env in opened:
            env.reset()
            env.call("arm", "step", "asleep in C")
        threads = [threading.Thread(target=step, args=(env,)) for env in opened]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for entered in envs:
            entered.__exit__(None, None, None)
    assert [silence for silence, _ in said] == ["blocked"] * count
    # A dozen processes that are killed and write their stacks on two processors take longer than one.
    assert max(took_s for _, took_s in said) <= 1.0 + 2 * PROMPT_S
