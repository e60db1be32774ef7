"""Clients in separate processes, for tests that kill, fork or end a client.

Knows pipes: a client is a Python program that writes lines to its stdout and reads lines from its stdin. Python 3.10
and up.
"""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support import polling, procfs
from support.clock import Clock
from support.paths import TESTS

# The time after which everything that a dead client started must be gone: a promise of the documentation.
GONE_S = 1.0
PRELUDE = f"""\
import os, signal, sys, threading, time
sys.path.insert(0, {str(TESTS)!r})
from support import procfs
from support.clock import Clock
from support.faulty import faulty, armed, act
from gym_service import errors
def say(*words): print(*words, flush=True)
def hear(): return sys.stdin.readline().strip()
"""


class Client:
    """A running client. A mark in its environment identifies all processes that it starts, directly or not."""

    def __init__(self, program: str, environ: Mapping[str, str]) -> None:
        self.mark = f"FAULTS_CLIENT={uuid.uuid4().hex}"
        self.folder = Path(tempfile.mkdtemp(prefix="client-"))
        name, _, value = self.mark.partition("=")
        folders = {"XDG_RUNTIME_DIR": str(self.folder / "run"), "XDG_STATE_HOME": str(self.folder / "state")}
        argv = [sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
        self._start(argv, {**os.environ, **folders, name: value, **environ})

    def _start(self, argv: list[str], environ: Mapping[str, str], prepare: Callable[[], None] | None = None) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            text=True,
            start_new_session=True,
            preexec_fn=prepare,
        )
        self._said: queue.Queue[str] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=read) for read in (self._read_said, self._read_errors)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def hears(self, line: str = "") -> None:
        """Write a line to its stdin."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def says(self, within_s: float = polling.TIMEOUT_S) -> str:
        """The next line of its stdout."""
        polling.until(lambda: not self._said.empty(), "a line of the client", within_s)
        line = self._said.get_nowait()
        if not line:
            self._said.put("")
            raise AssertionError(f"the client ended without a line of output:\n{self.errors()}")
        return line.rstrip("\n")

    def lines(self) -> list[str]:
        """All lines of its stdout that ``says`` has not returned, once it has ended."""
        self._readers[0].join(polling.TIMEOUT_S)
        found = []
        while line := self._said.get_nowait():
            found.append(line.rstrip("\n"))
        self._said.put("")
        return found

    def end(self, within_s: float = polling.TIMEOUT_S) -> int:
        """Wait until it has ended by itself. Returns its exit code."""
        polling.until(lambda: self.process.poll() is not None, "the end of the client", within_s)
        return self.process.returncode

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def errors(self) -> str:
        """Its stderr, read after it and all processes that hold its stderr have ended.

        Omits the line that appears after 2 s and says what the client waits for: on a busy machine any start may take
        that long.
        """
        self._readers[1].join(polling.TIMEOUT_S)
        lines = "".join(self._errors).splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("waiting for the server of "))

    def family(self) -> list[int]:
        """The living processes among itself and all that it started."""
        return procfs.marked(self.mark)

    def files(self) -> list[Path]:
        """The records of servers that still exist."""
        return [path for path in (self.folder / "run").rglob("*") if path.is_file()]

    def _read_said(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._said.put(line)
        self._said.put("")

    def _read_errors(self) -> None:
        assert self.process.stderr
        self._errors.extend(self.process.stderr)

    def dispose(self) -> None:
        """Kill everything that is left of it, however the test ended."""
        for _ in range(3):  # a process that starts during one pass is found in the next
            for pid in self.family():
                os.kill(pid, signal.SIGKILL)
        self.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Wait for its end, and close its pipes."""
        self.process.wait()
        for reader in self._readers:
            reader.join(polling.TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream
            try:
                stream.close()
            except BrokenPipeError:
                pass


@contextmanager
def client(program: str, environ: Mapping[str, str] | None = None) -> Iterator[Client]:
    """A client that runs this program. It and all that it started are killed when the block ends."""
    running = Client(program, environ or {})
    try:
        yield running
    finally:
        running.dispose()


def assert_nothing_outlives(dead: Client, spared: list[int]) -> None:
    """Assert that GONE_S after the client's end only the spared of its processes live, and that no file is left."""
    clock = Clock()
    polling.until(lambda: not set(dead.family()) - set(spared), "the end of the family", GONE_S)
    polling.until(lambda: not dead.files(), "the end of the records", GONE_S - clock.took_s)
    assert all(procfs.state(pid) for pid in spared)
