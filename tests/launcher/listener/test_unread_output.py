"""``gym-service run`` with output that no process reads: a full pipe, a stopped terminal. Clients notice nothing."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import polling, procfs
from support.serving import COMMAND, TIMEOUT_S

import gym_service

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

XOFF, XON = b"\x13", b"\x11"


def full_pipe() -> tuple[int, int]:
    """A pipe that accepts no more bytes: (read end, write end)."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    return reader, writer


@contextlib.contextmanager
def serving(path: Path, stdout: int, stderr: int, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    argv = [*COMMAND, "run", "--python", sys.executable, "--unix", str(path), *options]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    given = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, "env": environ, "start_new_session": True}
    with subprocess.Popen(argv, **given) as ran:  # type: ignore[call-overload]
        try:
            polling.until(path.exists, "the socket")
            yield ran
        finally:
            ran.kill()


def use(path: Path) -> int:
    """Make an env, play a few steps, close it. Returns the pid of its server."""
    with gym_service.make("CartPole-v1", address=f"unix://{path}", timeouts={"start": 30.0, "step": 10.0}) as env:
        env.reset(seed=1)
        env.step(0)
        return int(env.target["pid"])


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_full_pipe_stops_nothing(runtime_dir: Path, stream: str) -> None:
    runtime_dir.mkdir(exist_ok=True)
    path = runtime_dir / "full.sock"
    reader, writer = full_pipe()
    with open(os.devnull, "wb") as null, contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        streams = [writer if stream in (name, "both") else null.fileno() for name in ("stdout", "stderr")]
        ran = stack.enter_context(serving(path, *streams))
        os.close(writer)
        for _ in range(3):
            pid = use(path)
            polling.until(lambda pid=pid: not procfs.state(pid), "the end of the server")  # type: ignore[misc]
        ran.send_signal(signal.SIGTERM)
        assert ran.wait(TIMEOUT_S) == -signal.SIGTERM


def test_what_nobody_read_is_counted_once_somebody_does(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gym_service_launcher.processes import output_writer

    monkeypatch.setattr(output_writer, "QUEUE_CHARS", 100)
    reader, writer = full_pipe()
    with open(writer, "w") as stream, open(reader, "rb", buffering=0) as reading:
        output = output_writer.OutputWriter(stream)
        for number in range(50):
            output.write(f"line {number}\n")
        size = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
        assert reading.read(size) == b"x" * size
        output.write("the last, which comes too early\n")
        output.close(TIMEOUT_S)
        os.set_blocking(reader, False)
        text = reading.read(65536).decode()
    found = re.search(r"\((\d+) lines were dropped here", text)
    assert found
    assert text.startswith("line 0\nline 1\n")
    written = len(re.findall(r"^(?:line|the last)", text, re.MULTILINE))
    assert written + int(found[1]) == 51


def test_a_stopped_terminal_stops_nothing(runtime_dir: Path) -> None:
    runtime_dir.mkdir(exist_ok=True)
    path = runtime_dir / "stopped.sock"
    terminal, theirs = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, terminal)
        ran = stack.enter_context(serving(path, theirs, theirs))
        written = b""
        while b"0 clients" not in written:
            assert select.select([terminal], [], [], TIMEOUT_S)[0]
            written += os.read(terminal, 65536)
        os.write(terminal, XOFF)
        os.close(theirs)
        for _ in range(3):
            use(path)
        os.write(terminal, XON)
        while b"CartPole-v1, 1 step, server" not in written:
            assert select.select([terminal], [], [], TIMEOUT_S)[0]
            written += os.read(terminal, 65536)
        os.write(terminal, XOFF)
        ran.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert ran.wait(TIMEOUT_S) == -signal.SIGTERM
        assert time.monotonic() - begun < TIMEOUT_S / 2
