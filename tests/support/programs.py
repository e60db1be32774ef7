"""Programs that run one after another or at once, as one user would run them: with equal environments.

Knows pipes: a program writes lines to its stdout and reads lines from its stdin. Python 3.10 and up. Unlike the clients
of ``clients.py``, they share their folders and all variables, so they can share what is kept warm.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support import polling, procfs
from support.clients import Client
from support.paths import TESTS

PRELUDE = f"""\
import os, sys, time, warnings
sys.path.insert(0, {str(TESTS)!r})
def say(*words): print(*words, flush=True)
def hear(): return sys.stdin.readline().strip()
"""


class Program(Client):
    """A running program."""

    def __init__(
        self, programs: "Programs", text: str, variables: Mapping[str, str], prepare: Callable[[], None] | None
    ):
        self.mark, self.folder = programs.mark, programs.folder
        self._start(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(text)], {**programs.variables, **variables}, prepare
        )


class Programs:
    """The folders and the variables that the programs of a test share."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="p-"))
        self.mark = f"PROGRAMS={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        folders = {"XDG_RUNTIME_DIR": str(self.folder / "run"), "XDG_STATE_HOME": str(self.folder / "state")}
        self.variables = {**os.environ, **folders, name: value}
        self._running: list[Program] = []

    def start(self, text: str, prepare: Callable[[], None] | None = None, **variables: str) -> Program:
        """Start a program. ``prepare`` runs in its process before Python starts."""
        program = Program(self, text, variables, prepare)
        self._running.append(program)
        return program

    def run(self, text: str, prepare: Callable[[], None] | None = None, **variables: str) -> list[str]:
        """Run a program to its end. Returns the lines that it has written."""
        program = self.start(text, prepare, **variables)
        assert program.end() == 0, program.errors()
        return program.lines()

    def command(self, *words: str) -> str:
        """The output of gym-service with these arguments."""
        argv = [sys.executable, "-m", "gym_service", *words]
        return subprocess.run(argv, env=self.variables, capture_output=True, text=True, check=True).stdout

    def family(self) -> list[int]:
        """The living processes that the programs have started, and the programs."""
        return procfs.marked(self.mark)

    def files(self) -> list[Path]:
        """The sockets and the records that exist."""
        return [path for path in (self.folder / "run").rglob("*") if not path.is_dir()]

    def assert_nothing_is_left(self, within_s: float) -> None:
        polling.until(lambda: not self.family(), "the end of all processes", within_s)
        assert not self.files()

    def dispose(self) -> None:
        """Kill everything that is left, however the test ended."""
        for _ in range(3):  # a process that starts during one pass is found in the next
            for pid in self.family():
                os.kill(pid, signal.SIGKILL)
        for program in self._running:
            program.close()
        shutil.rmtree(self.folder)


@contextmanager
def programs() -> Iterator[Programs]:
    """Programs; they and all that they started are killed when the block ends."""
    running = Programs()
    try:
        yield running
    finally:
        running.dispose()
