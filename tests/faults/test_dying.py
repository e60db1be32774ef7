"""A server that dies, at any time and in any way: at once a typed error that says how, and no answer after it."""

import os
import signal

import pytest
from support import polling, procfs
from support.clock import Clock
from support.faulty import PROMPT_S, TRANSPORTS, act, alternately, armed, faulty, signal_and_die

from gym_service import RemoteEnv, errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# The exit code for each fault.
DEATHS = {"SIGKILL": -9, "SIGSEGV": -11, "SIGABRT": -6, "os._exit": 7, "sys.exit": 3}
# Signals from outside, while the server waits for a call.
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)


def assert_crashes(env: RemoteEnv, method: str, exit_code: int) -> errors.ServerCrashed:
    """The call fails in time and says how the server died; the next call says at once that the env is closed."""
    pid = env.target["pid"]
    clock = Clock()
    with pytest.raises(errors.ServerCrashed) as caught:
        act(env, method)
    assert clock.took_s <= PROMPT_S
    assert (caught.value.during, caught.value.exit_code) == (method, exit_code)
    assert not procfs.state(pid)
    clock = Clock()
    with pytest.raises(errors.ClosedError):
        act(env, method)
    assert clock.took_s <= PROMPT_S / 10
    return caught.value


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fault", DEATHS)
def test_a_death_in_a_step(fault: str, transport: str) -> None:
    test_a_death_in_a_call(fault, "step", transport)


@pytest.mark.parametrize(("fault", "method", "transport"), alternately(DEATHS, ("reset", "render")))
def test_a_death_in_a_call(fault: str, method: str, transport: str) -> None:
    with armed(method, fault, transport=transport) as env:
        error = assert_crashes(env, method, DEATHS[fault])
        assert "last words\n" in error.tail
        has_native_stack = "Current thread" in error.tail and 'faulty.py", line' in error.tail
        assert has_native_stack == (fault in ("SIGSEGV", "SIGABRT"))


@pytest.mark.parametrize(("number", "transport"), alternately(SIGNALS))
def test_a_death_while_idle(number: signal.Signals, transport: str) -> None:
    with faulty(transport=transport) as env:
        env.reset()
        os.kill(env.target["pid"], number)
        polling.until_dead([env.target["pid"]])
        assert_crashes(env, "step", -number)


@pytest.mark.parametrize(("fault", "transport"), alternately(DEATHS))
def test_a_death_of_its_own_while_idle(fault: str, transport: str) -> None:
    """Not by a signal from outside, but by a thread or handler of the simulator between two calls."""
    with faulty(transport=transport) as env:
        env.reset()
        signal_and_die(env, fault)
        assert "last words\n" in assert_crashes(env, "step", DEATHS[fault]).tail


@pytest.mark.parametrize(("fault", "transport"), alternately(DEATHS))
def test_a_death_in_make(fault: str, transport: str) -> None:
    clock = Clock()
    with pytest.raises(errors.ServerStartError) as caught, faulty(on="make", what=fault, transport=transport):
        pass
    assert clock.took_s <= 2.0
    assert caught.value.exit_code == DEATHS[fault]
    assert "last words\n" in caught.value.tail
    assert "\n  try: " in str(caught.value)


@pytest.mark.parametrize("target", ["py38-gym026", "py38-gymnasium028"])
def test_a_death_in_an_old_interpreter(target: str) -> None:
    for fault, exit_code in DEATHS.items():
        with armed("step", fault, target=target) as env:
            assert "last words\n" in assert_crashes(env, "step", exit_code).tail
