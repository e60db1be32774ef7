"""A real terminal: tmux, with a shell in it.

Knows tmux. Never knows gym_service. Python 3.10 and up.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.hosts import which

LIMIT_S = 40.0


class Terminal:
    """One tmux session with a shell in it."""

    def __init__(self, socket: Path, shell: str) -> None:
        self._tmux = [str(which("tmux")), "-S", str(socket), "-f", os.devnull]
        self._run("new-session", "-d", "-x", "200", "-y", "50", shell)

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        self._run("send-keys", "-l", text)
        self._run("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press a key by tmux's name, such as C-z."""
        self._run("send-keys", key)

    def until(self, pattern: str) -> re.Match[str]:
        """The match of a pattern on the screen. Blocks until there is one, LIMIT_S seconds at most."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            screen = self._run("capture-pane", "-p", "-J")
            found = re.search(pattern, screen, re.MULTILINE)
            if found:
                return found
            assert time.monotonic() < deadline, f"no {pattern!r} on the screen:\n{screen}"
            time.sleep(0.05)

    def end(self) -> None:
        """Close the terminal: its processes get SIGHUP."""
        self._run("kill-server")


@contextmanager
def tmux(socket: Path, shell: str = "sh") -> Iterator[Terminal]:
    """A terminal, which is closed afterwards. Without tmux the test is skipped, and fails in CI, which installs it."""
    made = Terminal(socket, shell)
    try:
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):  # the test has closed it
            made.end()
