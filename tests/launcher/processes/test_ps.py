"""gym-service ps, logs and stop, with real servers."""

import contextlib
import json
import logging
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gym_service_launcher import user_dirs
from gym_service_launcher.processes import logs, pidfiles
from support import polling, procfs
from support.faulty import act, assert_exact, faulty
from support.serving import COMMAND, running
from support.targets import TARGETS

import gym_service
from gym_service import errors
from gym_service.cli import ps

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [*COMMAND, *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


NOTHING = [["you have no running server"]]


def rows() -> list[list[str]]:
    """The rows that ps prints, each a list of cells."""
    shown = run("ps")
    assert (shown.returncode, shown.stderr) == (0, "")
    return [line.split("  ") for line in shown.stdout.splitlines()]


def cells(pid: int) -> dict[str, str]:
    headings, *lines = ([cell.strip() for cell in row if cell] for row in rows())
    return dict(zip(headings, next(line for line in lines if line[1] == str(pid)), strict=True))


@contextmanager
def printing(*lines: str) -> Iterator[int]:
    """A server that has printed these lines, one by one; yields its pid."""
    with faulty() as env:
        for line in lines:
            env.call("say", line)
        yield env.target["pid"]


def test_nothing_runs() -> None:
    assert rows() == NOTHING


def test_a_server_and_its_calls() -> None:
    with faulty() as env, faulty() as other:
        pid = env.target["pid"]
        before = int(cells(pid)["calls"])
        assert_exact(env, 10)
        found = cells(pid)
        assert int(found["calls"]) == before + 11
        assert (found["env"], found["state"]) == ("Faulty", "waiting")
        assert found["client"] == str(os.getpid())
        assert found["interpreter"] == str(TARGETS["py312-gymnasium14"].python())
        assert 10 < int(found["memory"].removesuffix(" MiB")) < 1000
        assert found["age"].endswith(" s")
        assert cells(other.target["pid"])["env"] == "Faulty"
        assert [server.pid for server in pidfiles.list_servers()] == [pid, other.target["pid"]]
        os.kill(pid, signal.SIGSTOP)
        polling.until_state(pid, "T")
        assert cells(pid)["state"] == "stopped"
        os.kill(pid, signal.SIGCONT)
    assert rows() == NOTHING


# Its import waits until the file exists.
GATE = """
import os, time
while not os.path.exists(os.environ["GATE"]):
    time.sleep(0.01)
"""


VECTOR = pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=VECTOR)])
def test_a_server_that_takes_long_to_start(workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """``ps`` says that it is starting, and the log says once what the client waits for."""
    caplog.set_level(logging.INFO, logger="gym_service")
    (tmp_path / "gate.py").write_text(GATE)
    python, gate = str(TARGETS["py312-gymnasium14"].python()), tmp_path / "open"
    keys: dict[str, Any] = {"python": python, "imports": ["gate"], "pythonpath": [str(tmp_path)]}
    keys["environ"] = {"GATE": str(gate)}
    made: list[Any] = []

    def make() -> None:
        if workers:
            made.append(gym_service.make_vec("CartPole-v1", workers, workers=workers, **keys))
        else:
            made.append(gym_service.make("CartPole-v1", **keys))

    thread = threading.Thread(target=make)
    thread.start()
    try:
        polling.until(lambda: len(pidfiles.list_servers()) == max(workers, 1), "the servers")
        assert {row[2] for row in (list(filter(None, row)) for row in rows()[1:])} == {"starting"}
        polling.until(lambda: caplog.records, "a line in the log")
    finally:
        gate.touch()
        thread.join()
    with contextlib.closing(made[0]):
        states = lambda: [server.state for server in pidfiles.list_servers()]  # noqa: E731
        polling.until(lambda: states() == ["waiting"] * max(workers, 1), "the end of the last call of the start")
        line = caplog.messages[-1]  # on a busy machine an earlier line may be about an earlier start
        assert line.startswith("waiting for the server of 'CartPole-v1' to import gate and make 'CartPole-v1' (")
        assert f"({python}, process " in line


def test_a_listener_is_known_by_its_address(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(unix=str(path)) as serving:
        env = gym_service.make("CartPole-v1", address=serving.address)
        try:
            env.reset()
            (found,) = [server for server in pidfiles.list_servers() if server.is_listener]
            assert (found.name, found.pid, found.state) == (f"unix://{path}", serving.process.pid, "listening")
            assert any(row[0] == f"unix://{path}" and "listening" in row for row in rows())
            stopped = run("stop", str(path))
            assert stopped.stdout == f"unix://{path} (pid {serving.process.pid}): stopped\n"
            serving.ended()
            with pytest.raises(errors.ConnectionLost):
                env.step(0)
        finally:
            env.close()
    assert not path.exists()
    assert pidfiles.list_servers() == []


def test_ages() -> None:
    for seconds, text in ((0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (3661, "1 h 1 min")):
        assert ps.age(seconds) == text
    assert ps.age(3 * 86400 + 7300) == "3 d 2 h"


def test_a_server_that_has_died_is_not_shown_and_its_record_goes() -> None:
    with faulty() as env:
        os.kill(env.target["pid"], signal.SIGKILL)
        polling.until_dead([env.target["pid"]])
        polling.until(lambda: not list(user_dirs.runtime_dir().glob("*.server")), "the end of the record")
        assert rows() == NOTHING


def test_a_record_of_a_pid_that_is_another_process_by_now() -> None:
    """Like the record after a crash of everything, guardian included: another process has the pid now."""
    folder = user_dirs.runtime_dir()
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"name": "Gone", "executable": "/python", "pid": os.getpid(), "client_pid": 1, "start_time": 1}
    (folder / "1-abc.server").write_bytes(bytes(8) + json.dumps(facts).encode() + bytes(100))
    assert run("stop", "Gone").returncode == 2
    assert rows() == NOTHING
    assert not list(folder.glob("*.server"))
    assert procfs.state(os.getpid())


def test_rubbish_among_the_records() -> None:
    folder = user_dirs.runtime_dir()
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("1-a.server", "x-b.server", "2-c.server")]
    for file, content in zip(files, (b"\xff" * 50, b"", bytes(8) + b'{"pid": "no"}'), strict=True):
        file.write_bytes(content)
    with faulty() as env:
        assert cells(env.target["pid"])["env"] == "Faulty"
    for file in files:
        file.unlink(missing_ok=True)


def test_the_log_of_a_server() -> None:
    with printing("the first line", "the second") as pid:
        polling.until(lambda: "the second" in run("logs", str(pid)).stdout, "the log")
        for which in ("Faulty", str(pid)):
            assert run("logs", which).stdout == "the first line\nthe second\n"


def test_a_log_of_nobody() -> None:
    shown = run("logs", "Nobody-v0")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "there is no log of 'Nobody-v0'" in shown.stderr
    with printing("words") as pid:
        polling.until(lambda: logs.of_pid(str(pid)), "the log")
        assert re.search(r"; there are logs of: .*\bFaulty\b", run("logs", "Nobody-v0").stderr)


def test_a_log_is_followed_across_its_rotation_until_the_server_ends() -> None:
    with faulty() as env:
        env.call("say", "begin")
        polling.until(lambda: logs.of_pid(str(env.target["pid"])), "the log")
        argv = [*COMMAND, "logs", "-f", str(env.target["pid"])]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout
            assert following.stdout.readline() == "begin\n"
            for number in range(5):
                env.call("say", "x" * 10**6)
                env.call("say", f"part {number}")
                # A reader that is slower than two rotations misses lines, since the log is bounded.
                while following.stdout.readline() != f"part {number}\n":
                    pass
            env.close()
            assert following.wait(polling.TIMEOUT_S) == 0
    size_bytes = sum(path.stat().st_size for path in logs.folder().glob(f"Faulty.{env.target['pid']}*"))
    assert size_bytes <= 2 * logs.FILE_BYTES


@pytest.mark.parametrize("by", ["name", "pid"])
def test_stopping_a_server(by: str) -> None:
    with faulty() as env:
        env.reset()
        shown = run("stop", "Faulty" if by == "name" else str(env.target["pid"]))
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout == f"Faulty (pid {env.target['pid']}): stopped\n"
        polling.until_dead([env.target["pid"]])
        with pytest.raises(errors.ServerCrashed, match="killed by SIGTERM"):
            act(env, "step")


def test_stopping_a_server_that_is_stopped_from_outside() -> None:
    with faulty() as env:
        os.kill(env.target["pid"], signal.SIGSTOP)
        begun = time.monotonic()
        assert run("stop", "Faulty").returncode == 0
        polling.until_dead([env.target["pid"]])
        assert time.monotonic() - begun <= pidfiles.TERMINATE_S + 2.0


def test_stopping_nobody() -> None:
    shown = run("stop", "999999999")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "you have no running server '999999999'; running: none" in shown.stderr


def test_only_the_newest_logs_are_kept() -> None:
    folder = logs.folder()
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(logs.MAX_LOGS + 10):
        (folder / f"Old.{number}.log").write_text("old")
    with printing("a line") as pid:
        polling.until(lambda: logs.of_pid(str(pid)), "the log")
        kept = [path for path in folder.glob("*.log") if not path.name.endswith(".1.log")]
        assert len(kept) <= logs.MAX_LOGS
        assert not (folder / "Old.0.log").exists()


def test_a_table_in_a_terminal() -> None:
    with faulty() as env:
        written = on_a_terminal("ps")
        assert str(env.target["pid"]) in written
        assert "MiB" in written
    assert on_a_terminal("ps").strip() == "you have no running server"


def on_a_terminal(*arguments: str) -> str:
    """The command's output when it is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs) as ran:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # Linux reports EIO at the end of a terminal
            while data := os.read(ours, 4096):
                written += data
        os.close(ours)
    assert ran.returncode == 0
    return written.decode()
