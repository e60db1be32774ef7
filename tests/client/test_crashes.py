"""Simulators that die, hang or are late: a typed error in time, with the evidence, and nothing left behind."""

import os
import pickle
import signal
import threading
import time

import pytest
from support import procfs
from support.opened import misbehaving

from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# The wall-clock time that may pass between a server's end and its error on a busy machine. Seconds.
MARGIN_S = 0.5
DEATHS = {
    "sys.exit": (3, "exit code 3"),
    "os._exit": (7, "exit code 7"),
    "SIGKILL": (-signal.SIGKILL, "killed by SIGKILL (signal 9)"),
    "SIGSEGV": (-signal.SIGSEGV, "killed by SIGSEGV (signal 11)"),
    "KeyboardInterrupt": (-signal.SIGINT, "killed by SIGINT (signal 2)"),
}


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize("deed", DEATHS)
def test_the_death_of_a_simulator_is_told_with_how_and_its_last_words(deed: str, transport: str) -> None:
    exit_code, ending = DEATHS[deed]
    with misbehaving(transport=transport) as env:
        env.reset()
        env.call("misbehave", "step", deed)
        begin = time.monotonic()
        with pytest.raises(errors.ServerCrashed) as caught:
            env.step(0)
        assert time.monotonic() - begin < MARGIN_S
        error = caught.value
        assert (error.during, error.exit_code) == ("step", exit_code)
        assert "last words\n" in error.tail
        first, *rest = str(error).splitlines()
        assert first == f"the server of 'Misbehaving-v0' died during step: {ending}"
        assert "    last words" in rest
        assert rest[-1] == "  try: make the env again; this one is closed"
        assert ("Segmentation fault" in error.tail) == (deed == "SIGSEGV")
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
        begin = time.monotonic()
        with pytest.raises(errors.ClosedError, match="ServerCrashed: the server of 'Misbehaving-v0' died during step"):
            env.step(0)
        assert time.monotonic() - begin < MARGIN_S / 10


@pytest.mark.parametrize("method", ["reset", "render", "call"])
def test_the_error_names_the_call_that_met_the_death(method: str) -> None:
    with misbehaving() as env:
        env.reset()
        env.call("misbehave", "pid" if method == "call" else method, "SIGKILL")
        with pytest.raises(errors.ServerCrashed) as caught:
            {"reset": env.reset, "render": env.render, "call": lambda: env.call("do", "pid")}[method]()
    assert caught.value.during == method


def test_a_death_between_two_calls_is_met_by_the_next() -> None:
    with misbehaving() as env:
        env.reset()
        os.kill(env.call("pid"), signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed, match="killed by SIGKILL"):
            env.step(0)


@pytest.mark.parametrize("transport", ["unix", "stdio"])
def test_a_step_that_hangs_ends_at_its_deadline_and_so_does_the_process(transport: str) -> None:
    with misbehaving(transport=transport, timeouts={"step": 0.4}) as env:
        env.reset()
        pid = env.call("pid")
        env.call("misbehave", "step", "hang")
        begin = time.monotonic()
        with pytest.raises(errors.CallTimeout) as caught:
            env.step(0)
        assert 0.4 <= time.monotonic() - begin < 0.4 + 2.0 + MARGIN_S  # SIGTERM has 2 s to take effect
        assert not is_running(pid)
        assert (caught.value.during, caught.value.timeout_s) == ("step", 0.4)
        assert "still here" in str(caught.value)
        with pytest.raises(errors.ClosedError, match="CallTimeout"):
            env.reset()


def test_close_ends_a_simulator_whose_close_hangs() -> None:
    with misbehaving(timeouts={"close": 0.3}) as env:
        pid = env.call("pid")
        env.call("misbehave", "close", "hang")
        begin = time.monotonic()
        env.close()
        assert time.monotonic() - begin < 0.3 * 2 + 2.0 + MARGIN_S
        assert not is_running(pid)


def test_close_does_not_wait_for_a_call_of_another_thread() -> None:
    ended: list[Exception] = []
    is_in_step = threading.Event()

    def step() -> None:
        is_in_step.set()
        try:
            env.step(0)
        except errors.GymServiceError as error:
            ended.append(error)

    with misbehaving(timeouts={"close": 0.2}) as env:
        env.reset()
        env.call("misbehave", "step", "hang")
        thread = threading.Thread(target=step)
        thread.start()
        is_in_step.wait()
        env.close()
        thread.join(10)
    assert [type(error) for error in ended] == [errors.ClosedError]


def test_close_leaves_no_process_that_the_simulator_forked() -> None:
    with misbehaving() as env:
        env.reset()
        pid = env.call("pid")
        env.call("misbehave", "step", "leave a child")
        env.step(0)
        children = procfs.children(pid)
        assert len(children) == 1
        env.close()
        assert not is_running(pid)
        # It must have been killed before close() returned; init or a guardian reaps it.
        assert not procfs.state(children[0])
