"""One process that the launcher started: what it prints, how it ends, how it is stopped.

Knows processes, signals and pipes. Never knows what the process is for. Python 3.10 and up.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

TAIL_BYTES = 65536
# How long after the end of a process its last words may take to arrive. A daemon of its own may hold the pipe open
# for ever, so the wait is bounded.
LAST_WORDS_S = 0.5

Rung = Literal["ended by itself", "asked", "terminated", "killed"]


class Child:
    """A process in a session of its own, so that a Ctrl-C in the terminal reaches only the client.

    Its stdout and stderr are always drained, by one thread, into a bounded tail; a process that prints much can
    neither block nor fill the memory.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None = None,
        *,
        pass_fds: Sequence[int] = (),
        piped: bool = False,
        show: bool = False,
    ) -> None:
        """Start it.

        Args:
            argv: the command, its executable first.
            env: all of its environment variables.
            cwd: its working directory; None for the client's.
            pass_fds: descriptors that it inherits under their own numbers.
            piped: give it pipes on stdin and stdout (``stdin_fd``, ``stdout_fd``); then stderr alone is drained.
            show: copy what it prints to this process's stderr as it comes.

        Raises:
            OSError: it cannot be executed, or ``cwd`` is no folder.
        """
        self.argv = tuple(argv)
        self.rung: Rung | None = None
        read_fd, write_fd = os.pipe()
        try:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else write_fd,
                stderr=write_fd,
                env=dict(env),
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        self._tail = bytearray()
        self._drain = threading.Thread(target=self._drain_output, args=(read_fd, show), daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """For people to read; never to be signalled by."""
        return self._process.pid

    def take_pipes(self) -> tuple[int, int]:
        """(read, write) descriptors of its stdout and stdin, not blocking, the caller's to close from here on."""
        assert self._process.stdin
        assert self._process.stdout
        fds = os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno())
        self._process.stdout.close()
        self._process.stdin.close()
        for fd in fds:
            os.set_blocking(fd, False)
        return fds

    def tail(self) -> str:
        """The end of what it printed so far, at most TAIL_BYTES; what is no UTF-8 stands as escapes."""
        return bytes(self._tail).decode("utf-8", "backslashreplace")

    def exit_code(self, timeout_s: float = 0.0) -> int | None:
        """Its exit code, a negative one for a signal; None if it still runs after ``timeout_s`` seconds.

        Once it has ended, what is left of its process group is killed and its last words are waited for.
        """
        if self._process.returncode is None and self._has_ended(timeout_s):
            self._kill_group()  # before it is reaped: until then its id cannot be anybody else's
            self._process.wait()
            self._drain.join(LAST_WORDS_S)
        return self._process.returncode

    def stop(self, ask_s: float, terminate_s: float) -> Rung:
        """Climb the ladder until it has ended: wait for the end it was asked for, SIGTERM, SIGKILL.

        Blocks for at most ``ask_s`` + ``terminate_s`` and the moment that the kernel takes to kill. Returns the rung
        that ended it; any number of times.
        """
        if self.rung is None:
            self.rung = self._climb(ask_s, terminate_s)
        return self.rung

    def _climb(self, ask_s: float, terminate_s: float) -> Rung:
        if self.exit_code() is not None:
            return "ended by itself"
        if self.exit_code(ask_s) is not None:
            return "asked"
        self._process.terminate()
        if self.exit_code(terminate_s) is not None:
            return "terminated"
        self._kill_group()
        while self.exit_code(1.0) is None:
            pass
        return "killed"

    def _has_ended(self, timeout_s: float) -> bool:
        """Whether it has ended, found out without reaping it."""
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        deadline = time.monotonic() + timeout_s
        with _EndOf(self._process.pid) as ended:
            while os.waitid(os.P_PID, self._process.pid, how) is None:
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    return False
                ended.poll(min(remaining_s, ended.longest_s) * 1000)
        return True

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
            os.killpg(self._process.pid, signal.SIGKILL)

    def _drain_output(self, fd: int, show: bool) -> None:
        with open(fd, "rb", buffering=0) as output:
            while data := output.read(TAIL_BYTES):
                self._tail += data
                if len(self._tail) > 2 * TAIL_BYTES:
                    del self._tail[:-TAIL_BYTES]
                if show:
                    _copy_to_stderr(data)


class _EndOf:
    """Something to poll that wakes up when a process ends; without pidfds (macOS), when it is time to look again."""

    longest_s = 3600.0

    def __init__(self, pid: int) -> None:
        self._poll = select.poll()
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(pid)
            self._poll.register(self._pidfd, select.POLLIN)
        else:
            self.longest_s = 0.005

    def __enter__(self) -> "_EndOf":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def poll(self, timeout_ms: float) -> None:
        self._poll.poll(timeout_ms)


def _copy_to_stderr(data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed, or a full disk behind it: showing is a courtesy
        sys.stderr.write(data.decode("utf-8", "backslashreplace"))
        sys.stderr.flush()


def ending(exit_code: int | None) -> str:
    """How a process ended, as people say it."""
    if exit_code is None:
        return "still running, but its channel is closed"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name} (signal {-exit_code})"
    except ValueError:
        return f"killed by signal {-exit_code}"
