"""In whatever way a link, its client or its server ends: nothing stays on the remote side, and callers learn why."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gym_service_launcher.processes import pidfiles
from gym_service_launcher.standalone import remote_guardian
from support import polling, procfs
from support.clients import client
from support.faulty import act, assert_exact, faulty
from support.hosts import SshHost
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv, errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

STATES = ("", "asleep in C", "spinning in C", "SIGSTOP")


class There:
    """The processes of one env on the remote side: the server and its descendants, by a mark, and its guardian."""

    def __init__(self, mark: str) -> None:
        self.marked = procfs.marked(f"FAR={mark}")
        guardians = {procfs.parent(pid) for pid in self.marked} - set(self.marked)
        self.guardian = next(pid for pid in guardians if "-m code" in procfs.command_line(pid))
        self.server = next(pid for pid in self.marked if procfs.parent(pid) == self.guardian)

    def assert_gone(self) -> None:
        """The server has HANGUP_S and a moment. A process that is not killed would live for ten minutes."""
        polling.until_dead([*self.marked, self.guardian])


def session_of(there: There) -> int:
    """The pid of the sshd that serves this link."""
    session = procfs.parent(there.guardian)
    while "sshd" not in procfs.command_line(session):
        session = procfs.parent(session)
    return session


@contextmanager
def faulty_there(command: list[str], remote_envs: Path, **given: Any) -> Iterator[tuple[RemoteEnv, There]]:
    """``FaultyEnv`` on the remote side, with a child of each kind."""
    mark = os.urandom(8).hex()
    with faulty(command=command, pythonpath=[str(remote_envs)], environ={"FAR": mark}, **given) as env:
        env.reset()
        env.call("start_children")
        yield env, There(mark)


def command_process() -> int:
    """The pid of the command of the only env."""
    return next(server.pid for server in pidfiles.list_servers() if server.client_pid == os.getpid())


def begin_fault(env: RemoteEnv, there: There, state: str) -> None:
    """Put the server into a step that does not end; without a state it waits for a call."""
    if state:
        env.call("arm", "step", state)
        env.step_async(np.array([1, 2], np.int64))
        polling.until_state(there.server, "T" if state == "SIGSTOP" else "R" if "spinning" in state else "S")


@pytest.mark.parametrize("state", STATES)
def test_a_link_that_is_cut(ssh: list[str], remote_envs: Path, state: str) -> None:
    with faulty_there(ssh, remote_envs) as (env, there):
        begin_fault(env, there, state)
        os.kill(command_process(), signal.SIGKILL)
        there.assert_gone()
        with pytest.raises(errors.ConnectionLost) as caught:
            env.step_wait() if state else env.reset()
        assert caught.value.during == ("step" if state else "reset")
        lines = str(caught.value).splitlines()
        assert lines[0].endswith("ssh: killed by SIGKILL (signal 9)")
        assert lines[1].startswith("  command: ssh -F ")
        assert "once this works: ssh -F " in lines[-1]
        assert caught.value.address.startswith("ssh -F ")


@pytest.mark.parametrize(("name", "state"), [("docker", "asleep in C"), ("srun", "SIGSTOP")])
def test_a_command_that_is_killed(places: dict[str, list[str]], remote_envs: Path, name: str, state: str) -> None:
    with faulty_there(places[name], remote_envs) as (env, there):
        begin_fault(env, there, state)
        os.kill(command_process(), signal.SIGKILL)
        there.assert_gone()


def test_a_session_that_its_host_ends(ssh: list[str], remote_envs: Path) -> None:
    with faulty_there(ssh, remote_envs) as (env, there):
        os.kill(session_of(there), signal.SIGKILL)
        there.assert_gone()
        with pytest.raises(errors.ConnectionLost, match="ssh: exit code 255"):
            env.reset()


def test_a_host_that_falls_silent(ssh_host: SshHost, remote_envs: Path) -> None:
    options = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1"]
    with faulty_there(ssh_host.command("bash", *options), remote_envs) as (env, there):
        session = session_of(there)
        os.kill(session, signal.SIGSTOP)
        try:
            with pytest.raises(errors.ConnectionLost, match="ssh: exit code 255") as caught:
                env.reset()
        finally:
            os.kill(session, signal.SIGCONT)
        assert "not responding" in caught.value.tail
        there.assert_gone()


PROGRAM = """
command, pythonpath, state = json.loads(os.environ["FAULTS_CASE"])
with faulty(command=command, pythonpath=pythonpath, environ={"FAR": os.environ["FAULTS_CASE_MARK"]}) as env:
    env.reset()
    env.call("start_children")
    if state:
        env.call("arm", "step", state)
        env.step_async([1, 2])
    say("begun")
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("name", "state"), [("ssh", ""), ("ssh", "spinning in C"), ("docker", "asleep in C"), ("srun", "SIGSTOP")]
)
def test_a_client_that_is_killed(places: dict[str, list[str]], remote_envs: Path, name: str, state: str) -> None:
    mark = os.urandom(8).hex()
    case = json.dumps([places[name], [str(remote_envs)], state])
    with client("import json\n" + PROGRAM, {"FAULTS_CASE": case, "FAULTS_CASE_MARK": mark}) as running:
        assert running.says(3 * polling.TIMEOUT_S) == "begun"
        there = There(mark)
        if state == "SIGSTOP":
            polling.until_state(there.server, "T")
        running.kill()
        there.assert_gone()
        polling.until_dead(running.family())


@pytest.mark.parametrize(
    ("name", "fault", "exit_code", "ending"),
    [
        ("ssh", "SIGSEGV", -11, "killed by SIGSEGV (signal 11)"),
        ("docker", "SIGKILL", -9, "killed by SIGKILL (signal 9)"),
        ("srun", "os._exit", 7, "exit code 7"),
    ],
)
def test_a_server_that_dies(
    places: dict[str, list[str]], remote_envs: Path, name: str, fault: str, exit_code: int, ending: str
) -> None:
    with faulty_there(places[name], remote_envs) as (env, there):
        env.call("arm", "step", fault)
        with pytest.raises(errors.ServerCrashed) as caught:
            act(env, "step")
        there.assert_gone()
    assert (caught.value.during, caught.value.exit_code) == ("step", exit_code)
    assert str(caught.value).startswith(f"the server of 'Faulty' died during step: {ending}\n  command: ")
    assert "last words" in caught.value.tail


def test_a_remote_guardian_that_is_killed_takes_the_server_with_it(ssh: list[str], remote_envs: Path) -> None:
    """It cannot kill what the server has started. If that lives and holds the streams, a call ends at its timeout."""
    with faulty(command=ssh, pythonpath=[str(remote_envs)]) as env:
        env.reset()
        server = env.target["pid"]
        os.kill(procfs.parent(server), signal.SIGKILL)
        polling.until_dead([server])
        with pytest.raises(errors.ConnectionLost):
            env.reset()


def test_a_remote_guardian_that_is_terminated_leaves_nothing(ssh: list[str], remote_envs: Path) -> None:
    with faulty_there(ssh, remote_envs) as (env, there):
        os.kill(there.guardian, signal.SIGTERM)
        there.assert_gone()
        with pytest.raises(errors.ServerCrashed, match="SIGKILL"):
            env.reset()


@pytest.mark.parametrize(
    ("state", "silence", "line"),
    [
        ("asleep in C", "blocked", "in sleep_in_c"),
        ("spinning in C", "busy", "in spin_in_c"),
        ("SIGSTOP", "stopped", ""),
    ],
)
def test_a_call_that_is_late_says_why(ssh: list[str], remote_envs: Path, state: str, silence: str, line: str) -> None:
    with faulty_there(ssh, remote_envs, timeouts={"step": 0.5}) as (env, there):
        env.call("arm", "step", state)
        with pytest.raises(errors.CallTimeout) as caught:
            act(env, "step")
        there.assert_gone()
    assert (caught.value.during, caught.value.state) == ("step", silence)
    assert line in caught.value.stack
    assert ("faulty.py" in caught.value.stack) == bool(line)


def test_a_deadline_holds_for_sending(ssh: list[str], remote_envs: Path) -> None:
    with faulty_there(ssh, remote_envs, timeouts={"call": 1.0}) as (env, there):
        os.kill(there.server, signal.SIGSTOP)
        polling.until_state(there.server, "T")
        begun = time.monotonic()
        with pytest.raises(errors.CallTimeout) as caught:
            env.call("measure", np.zeros(50 * 2**20, np.uint8))
        # Six seconds at most, and some more on a busy machine; the server would sleep for ever.
        assert 1.0 <= time.monotonic() - begun < 60.0
        # ssh has more data than the client reads, and the end of the link comes after it: no last words arrive.
        assert caught.value.state == "unknown"
        there.assert_gone()


def test_another_server_after_a_failure(ssh: list[str], remote_envs: Path) -> None:
    with faulty_there(ssh, remote_envs, restart="on-reset") as (env, there):
        env.call("arm", "step", "SIGSEGV")
        with pytest.raises(errors.ServerCrashed, match=r"try: reset\(\), which starts another"):
            act(env, "step")
        there.assert_gone()
        assert_exact(env, 3)


@pytest.mark.parametrize("seconds", [0.0, remote_guardian.HANGUP_S + 0.6])
def test_a_simulator_has_the_time_that_the_client_gives_to_whoever_closes(
    ssh: list[str], remote_envs: Path, tmp_path: Path, seconds: float
) -> None:
    file = tmp_path / "said"
    keys = {"entry_point": "farewell:FarewellEnv", "pythonpath": [str(remote_envs)], "timeouts": {"close": 20}}
    python = str(TARGETS["py312-gymnasium14"].python())
    env = gym_service.make("Farewell", command=ssh, python=python, path=str(file), seconds=seconds, **keys)
    env.close()
    assert file.read_text() == "closed, left"


def test_what_is_printed_over_there_is_kept_and_disturbs_nothing(
    places: dict[str, list[str]], remote_envs: Path
) -> None:
    with faulty_there(places["docker"], remote_envs) as (env, _):
        env.call("say", "a line from afar")
        env.call("arm", "step", "much output")
        assert act(env, "step")[0]["answers"].tolist() == [1, 1, -7]
        assert_exact(env, 3)


def test_closing_leaves_nothing(places: dict[str, list[str]], remote_envs: Path) -> None:
    with faulty_there(places["srun"], remote_envs) as (env, there):
        env.close()
        there.assert_gone()


def test_a_slow_step_is_no_lost_link(ssh: list[str], remote_envs: Path) -> None:
    with faulty_there(ssh, remote_envs) as (env, _):
        env.call("slow_down", 2 * remote_guardian.HANGUP_S)
        assert act(env, "step")[0]["answers"].tolist() == [1, 1, -7]
