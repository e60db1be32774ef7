"""close(), from any thread and at any time, and Ctrl-C: quick, without output, and effective at once."""

import os
import pickle
import signal
import threading

import pytest
from support import polling, procfs
from support.clients import assert_nothing_outlives, client
from support.clock import Clock
from support.faulty import TRANSPORTS, act, alternately, armed, assert_exact, calls_of, faulty
from support.vector_play import remote

from gym_service import errors
from gym_service.client.env import RemoteEnv

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

LONGEST_CLOSE_S = 8.0
# How long a slow close() in faulty.py takes.
SLOW_S = 1.5
# The time that closing may take beyond timeouts.close, however many servers there are.
AFTER_CLOSE_S = 3.0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_closing_again_is_nothing(transport: str) -> None:
    with faulty(transport=transport) as env:
        pid = env.target["pid"]
        for _ in range(3):
            env.close()
        assert not procfs.state(pid)
        with pytest.raises(errors.ClosedError, match="close"):
            act(env, "step")


@pytest.mark.parametrize(
    ("fault", "transport"), alternately(["asleep in C", "spinning in Python", "SIGSTOP", "asleep in Python"])
)
def test_closing_from_another_thread_ends_the_call(fault: str, transport: str) -> None:
    raised: list[BaseException] = []

    def step() -> None:
        try:
            act(env, "step")
        except errors.GymServiceError as error:
            raised.append(error)

    with armed("step", fault, transport=transport, timeouts={"close": 0.5}) as env:
        pid = env.target["pid"]
        thread, calls = threading.Thread(target=step), calls_of(pid)
        thread.start()
        polling.until(lambda: calls_of(pid) > calls, "the call")
        clock = Clock()
        env.close()
        # Half a second to end by itself, two seconds for SIGTERM.
        assert clock.took_s <= 0.5 + 2.0 + 0.5
        thread.join(polling.TIMEOUT_S)
        assert [type(error) for error in raised] == [errors.ClosedError]
        assert not procfs.state(pid)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_threads_close_at_once(transport: str) -> None:
    with faulty(transport=transport) as env:
        env.reset()
        threads = [threading.Thread(target=env.close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONGEST_CLOSE_S)
        assert not any(thread.is_alive() for thread in threads)
        polling.until_dead([env.target["pid"]])


def test_probing_a_closed_env_finds_nothing_and_raises_nothing() -> None:
    """Libraries do so while they clean up."""
    with faulty() as env:
        assert hasattr(env, "number")
        assert env.has_wrapper_attr("number")
        env.close()
        assert not hasattr(env, "number")
        assert not env.has_wrapper_attr("number")
        assert getattr(env, "viewer", None) is None
        assert hasattr(env, "reset")
        with pytest.raises(errors.ClosedError, match="the env is closed: it was closed with close"):
            env.number
        assert pickle.loads(pickle.dumps(errors.AttributeOfClosedError("text"))).args == ("text",)
    with armed("step", "SIGKILL") as env:
        os.kill(env.target["pid"], signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed):  # the first call after a death reports it, whichever call it is
            hasattr(env, "number")
        assert not hasattr(env, "number")


ENDS = {
    "forgotten": "env.reset()",
    "dropped": "env.reset(); del env, context; import gc; gc.collect()",
    "uncaught exception": "env.reset(); sys.excepthook = lambda *_: None; raise ValueError('of the user')",
    "sys.exit": "env.reset(); sys.exit(0)",
    "in a cycle": "keep = [env]; keep.append(keep); del env, context, keep",
    "a dead server": "env.reset(); os.kill(env.target['pid'], 9)",
    "a stopped server": "env.reset(); os.kill(env.target['pid'], signal.SIGSTOP)",
    "a thread in a call": (
        "from support.faulty import calls_of\n"
        "env.reset(); env.call('arm', 'step', 'asleep in C')\n"
        "pid = env.target['pid']\n"
        "calls = calls_of(pid)\n"
        "def use():\n"
        "    try: act(env, 'step')\n"
        "    except errors.ClosedError: pass\n"
        "threading.Thread(target=use, daemon=True).start()\n"
        "while calls_of(pid) == calls: pass"
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_client_that_ends_with_an_open_env_ends_quietly(end: str) -> None:
    transport = TRANSPORTS[list(ENDS).index(end) % 2]
    opening = f"context = faulty(transport={transport!r}, timeouts={{'close': 1.0}})\nenv = context.__enter__()\n"
    # An interpreter in development mode warns about everything that is not closed.
    with client(f"{opening}say(env.target['pid'])\n{ENDS[end]}", {"PYTHONDEVMODE": "1"}) as running:
        server = int(running.says())
        assert running.end(LONGEST_CLOSE_S) == (1 if end == "uncaught exception" else 0)
        polling.until_dead([server], 1.0)
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_exception_in_init_leaves_no_server(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server makes the env, but the client cannot hold it. The server is ended before the error is raised."""
    found: list[int] = []

    class Spoilt(Exception):
        pass

    def spoil(self: RemoteEnv, *args: object, **kwargs: object) -> None:
        found.append(args[1]["target"]["pid"])  # type: ignore[index]
        raise Spoilt

    monkeypatch.setattr(RemoteEnv, "__init__", spoil)
    with pytest.raises(Spoilt), faulty(transport=transport):
        pass
    assert not procfs.state(found[0])


INTERRUPTED = """
transport, method, state = os.environ["FAULTS_CASE"].split(",")
with faulty(transport=transport, timeouts={"reset": 1.0} if state.startswith("asleep") else {}) as env:
    env.reset()
    if state == "slow":
        env.call("slow_down", 2.0)
    elif state:
        env.call("arm", method, state)
    say(env.target["pid"])
    try:
        if not state:
            hear()
        act(env, method)
    except KeyboardInterrupt:
        say("interrupted")
    try:
        env.reset()
        say("usable", act(env, "step", 4)[0]["answers"].tolist())
    except errors.CallTimeout as error:
        say("late", f"the end of the {method} that was interrupted" in str(error))
    say(env.target["pid"])
"""


@pytest.mark.parametrize(
    ("method", "state", "transport"),
    [*alternately(["step"], ["", "slow", "asleep in Python"]), *alternately(["reset", "render"], ["asleep in C"])],
)
def test_ctrl_c_reaches_the_client_alone(method: str, state: str, transport: str) -> None:
    """As from a terminal: SIGINT to the client's whole process group. The env stays usable, also if a call was running.

    The next call waits for the end of the interrupted one, within its own timeout.
    """
    with client(INTERRUPTED, {"FAULTS_CASE": f"{transport},{method},{state}"}) as running:
        server = int(running.says())
        guardian = procfs.guardian_of(running.pid)
        polling.until_state(server, "S")
        polling.until_state(running.pid, "S")
        os.killpg(running.pid, signal.SIGINT)
        assert running.says() == "interrupted"
        afterwards = running.says()
        if state in ("", "slow"):
            assert afterwards == "usable [1, 4, -28]"
        else:
            assert afterwards == "late True"
            assert not procfs.state(server)
        assert procfs.state(guardian)
        running.says()
        assert running.end(LONGEST_CLOSE_S) == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


INTERRUPTED_IN_MAKE = """
try:
    with faulty(transport=os.environ["FAULTS_CASE"], on="make", what="children, then asleep"):
        pass
except KeyboardInterrupt:
    say("interrupted")
hear()
with faulty(transport=os.environ["FAULTS_CASE"]) as env:
    env.reset()
    say(act(env, "step", 3)[1])
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_ctrl_c_while_an_env_is_made_leaves_nothing_of_it(transport: str) -> None:
    with client(INTERRUPTED_IN_MAKE, {"FAULTS_CASE": transport}) as running:
        polling.until(lambda: len(running.family()) == 2 + 4, "the server and its three children")
        os.killpg(running.pid, signal.SIGINT)
        assert running.says() == "interrupted"
        assert_nothing_outlives(running, [running.pid, procfs.guardian_of(running.pid)])
        running.hears()
        assert running.says() == "3.0"
        assert running.end() == 0
        assert running.errors() == ""


@pytest.mark.parametrize("transport", ["unix", pytest.param("stdio", marks=pytest.mark.long)])
def test_restarts_are_three_in_a_minute(transport: str) -> None:
    with faulty(transport=transport, restart="on-reset") as env:
        env.reset()
        pids = [env.target["pid"]]
        for fault in ("SIGKILL", "os._exit", "SIGSEGV"):
            env.call("arm", "step", fault)
            with pytest.raises(errors.ServerCrashed, match="during step"):
                act(env, "step")
            with pytest.raises(errors.ClosedError):
                act(env, "step")
            assert_exact(env, 10)
            pids.append(env.target["pid"])
        assert len(set(pids)) == 4
        env.call("arm", "step", "SIGKILL")
        with pytest.raises(errors.ServerCrashed, match="during step"):
            act(env, "step")
        for _ in range(2):
            clock = Clock()
            with pytest.raises(errors.ServerCrashed, match="not started again"):
                env.reset()
            assert clock.took_s <= 0.1
        with pytest.raises(errors.ClosedError):
            act(env, "step")
        polling.until_dead(pids)


def test_a_restart_that_fails_counts_too() -> None:
    with faulty(restart="on-reset", on="reset", what="SIGKILL") as env:
        clock = Clock()
        for _ in range(1 + 3):
            with pytest.raises(errors.ServerCrashed, match="during reset"):
                env.reset()
        assert clock.elapsed_s >= 0.5 + 2.0  # the pauses before the second and third restart
        with pytest.raises(errors.ServerCrashed, match="not started again"):
            env.reset()


def test_what_the_user_has_closed_is_not_started_again() -> None:
    with armed("step", "SIGKILL", restart="on-reset") as env:
        with pytest.raises(errors.ServerCrashed):
            act(env, "step")
        env.close()
        with pytest.raises(errors.ClosedError):
            env.reset()


def test_never_is_the_usual_restart() -> None:
    with armed("step", "SIGKILL") as env:
        with pytest.raises(errors.ServerCrashed):
            act(env, "step")
        with pytest.raises(errors.ClosedError):
            env.reset()


def test_workers_that_close_slowly_close_at_once() -> None:
    with remote("Faulty", 6, entry_point="faulty:FaultyEnv", workers=6, timeouts={"close": 30.0}) as envs:
        envs.reset()
        envs.call("arm", "close", "slow")
        pids = [target["pid"] for target in envs.targets]
        clock = Clock()
        envs.close()
        # One after the other would take 9 s.
        assert clock.is_within(SLOW_S, 4 * SLOW_S)
        assert not any(procfs.state(pid) for pid in pids)


def test_workers_that_hang_in_close_are_stopped_at_once() -> None:
    with remote("Faulty", 4, entry_point="faulty:FaultyEnv", workers=4, timeouts={"close": 1.0}) as envs:
        envs.reset()
        envs.call("arm", "close", "asleep in C")
        pids = [target["pid"] for target in envs.targets]
        clock = Clock()
        envs.close()
        assert clock.is_within(1.0, 1.0 + AFTER_CLOSE_S)
        assert not any(procfs.state(pid) for pid in pids)


HANGING = """
import time
case = os.environ["FAULTS_CASE"]
opened = [faulty(timeouts={"close": 2.0}) for _ in range(4)]
envs = [each.__enter__() for each in opened]
for env in envs:
    env.reset()
    env.call("arm", "close", case)
say(*(env.target["pid"] for env in envs))
hear()
"""


@pytest.mark.parametrize("hangs", ["asleep in C", "SIGSTOP", "spinning in Python"])
def test_open_envs_that_hang_hold_the_end_of_the_program_for_the_time_of_one(hangs: str) -> None:
    with client(HANGING, {"FAULTS_CASE": hangs}) as running:
        pids = [int(pid) for pid in running.says().split()]
        clock = Clock()
        running.hears()
        assert running.end() == 0
        # One after the other would take 8 s, and the time to kill them.
        assert clock.is_within(2.0, 2.0 + AFTER_CLOSE_S)
        assert running.errors() == ""
        assert not any(procfs.state(pid) for pid in pids)
