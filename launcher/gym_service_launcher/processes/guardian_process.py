"""GuardianProcess: the guardian of this process, as a process. How it is started, and by which interpreter.

Knows the guardian's command line (``standalone/guardian.py``). Never knows what it is asked to start. Python 3.10 and
up.
"""

import contextlib
import errno
import fcntl
import os
import re
import select
import signal
import socket
import sys
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from gym_service_launcher.processes.forked_copies import Descriptors, close_in_child, refuse_child
from gym_service_launcher.standalone import client_watch, guardian, interrupts, procfs

PROGRAM = Path(guardian.__file__).with_name("run_guardian.py")
PIDFD_FD = guardian.CONTROL_FD + 1
START_S = 30
# What an interpreter is called. A program that embeds Python has another name.
PYTHON_NAME = re.compile("python|pypy|graalpy", re.IGNORECASE)


class GuardianProcess:
    """A guardian that has been started.

    It is told this process's pidfd, and then makes itself no child of this process, so that ``os.wait()`` here does not
    wait for it. Where there is no pidfd (macOS, old kernels) it stays a child: it learns from its parent's pid that
    this process has ended.
    """

    def __init__(self, server_executable: str = "", *, portable: bool = False) -> None:
        """Start it. Does not wait for it: ``wait_for_start`` does. Raises OSError.

        Args:
            server_executable: the interpreter of the server that needs it, for a program without one of its own.
            portable: use only what every system has; for trying that out on Linux.
        """
        process_id = os.getpid()
        self._python = guardian_python(server_executable)
        self._child_pid = 0  # of the guardian, where it is a child of this process
        self._told: list[bytes] = []
        # A plain descriptor, since it stays open until this process ends: a socket object would warn of that.
        self._control_fds = Descriptors()
        close_in_child(self._control_fds)
        self._unreaped: list[int] = []
        self._status = 0
        # An interrupt may come before anything holds this object. Without its control socket the guardian ends.
        self._finalizer = weakref.finalize(self, _let_go, self._control_fds, self._unreaped, process_id)
        self._finalizer.atexit = False
        ours, theirs = socket.socketpair()
        close_in_child(ours)
        close_in_child(theirs)
        with ours, contextlib.ExitStack() as opened:
            files = {guardian.CONTROL_FD: opened.enter_context(theirs).fileno()}
            pidfd = -1 if portable else client_watch.open_pidfd(process_id)
            how = ["portable"] if portable else []
            if pidfd >= 0:
                opened.callback(os.close, pidfd)
                files[PIDFD_FD], how = pidfd, [str(PIDFD_FD)]
            argv = [self._python, "-I", "-S", *_byte_code_options(), str(PROGRAM), str(process_id), *how]
            self._must_wait = pidfd >= 0
            refuse_child(process_id)
            spawn_detached(argv, files, self._unreaped)
            refuse_child(process_id)
            self._control_fds += map(socket.socket.detach, [ours])
        if not self._must_wait:
            self._child_pid = self._unreaped[0]

    @property
    def is_ours(self) -> bool:
        """False where this process was forked while the guardian was started: it is the parent's."""
        return bool(self._control_fds) and self._control_fd >= 0

    @property
    def _control_fd(self) -> int:
        return self._control_fds[0]

    def wait_for_start(self) -> None:
        """Wait until it is no child of this process any more, some 20 ms after its start. Raises OSError.

        Blocks for START_S at most.
        """
        if not self._must_wait:
            return
        poll = select.poll()
        poll.register(self._control_fd, select.POLLIN)
        try:
            while not b"".join(self._told).endswith(b"\n") and b"" not in self._told:
                if not poll.poll(START_S * 1000):
                    for pid in self._unreaped:
                        os.kill(pid, signal.SIGKILL)
                    raise OSError(errno.ETIMEDOUT, f"the guardian did not start within {START_S} s", self._python)
                # In one step of the interpreter: what was read is kept, also where a handler raises.
                with interrupts.suppress(ConnectionResetError):  # it ended without reading a request
                    self._told += map(os.read, (self._control_fd,), (64,))
        finally:  # also after Ctrl-C; then the next call goes on
            for pid in self._unreaped:
                with interrupts.suppress(ChildProcessError):  # ignored SIGCHLD, or a wait for any child has reaped it
                    _, self._status = os.waitpid(pid, 0)
            self._unreaped.clear()  # the pid may become that of a child of the user
        self._must_wait = False
        word, _, number = b"".join(self._told).decode("ascii", "replace").partition(" ")
        if word == "errno":
            raise OSError(int(number), os.strerror(int(number)), self._python)
        if word != "pid":
            code = os.waitstatus_to_exitcode(self._status)
            raise OSError(f"the guardian did not start: {self._python} ended with exit code {code}")
        # Orphans become children of this process where it is a subreaper, or process 1 of a container.
        process = procfs.process(int(number))
        self._child_pid = int(number) if process and process.parent_pid == os.getpid() else 0

    def control(self) -> socket.socket:
        """A copy of the control socket, the caller's to close."""
        copy = socket.socket(fileno=os.dup(self._control_fd))
        close_in_child(copy)
        return copy

    def has_ended(self) -> bool:
        """Whether its end of the control socket is closed. After ``wait_for_start`` it never sends anything there."""
        poll = select.poll()
        poll.register(self._control_fd, select.POLLIN)
        return bool(poll.poll(0))

    def dispose(self) -> None:
        """Let go of a guardian that has ended. Where it is a child, reap it: it has ended, or is about to."""
        self._unreaped[:] = [self._child_pid] if self._child_pid else []
        self._finalizer()

    def forget(self) -> None:
        """In a forked child of this process: close the copy of what belongs to the parent."""
        self._finalizer.detach()
        self._control_fds.close()


def _let_go(control_fds: list[int], unreaped: list[int], process_id: int) -> None:
    """End a guardian, if it still runs, and reap what is a child of this process."""
    if process_id != os.getpid():
        return
    while control_fds:
        os.close(control_fds.pop())
    for pid in unreaped:
        with interrupts.suppress(ChildProcessError):  # ignored SIGCHLD, or a wait for any child has reaped it
            os.waitpid(pid, 0)


def _byte_code_options() -> list[str]:
    """Whether this process writes byte code, and to which folder: -I ignores the variables."""
    where = ["-X", f"pycache_prefix={sys.pycache_prefix}"] if sys.pycache_prefix else []
    return [*where, "-B"] if sys.dont_write_bytecode else where


def guardian_python(server_executable: str) -> str:
    """The interpreter that runs the guardian: this process's own, or else the server's, or else a python3 on PATH.

    A program that embeds Python may have no ``sys.executable``, or one that is no Python but the program itself.
    Raises OSError.
    """
    for candidate in _candidates(server_executable):
        if candidate and PYTHON_NAME.match(os.path.basename(candidate)):
            return candidate
    text = f"this program embeds Python (sys.executable is {sys.executable!r}), and PATH has no python3 either"
    raise OSError(f"{text}: nothing can run the guardian of its servers")


def _candidates(server_executable: str) -> Iterator[str]:
    if not getattr(sys, "frozen", False):
        yield sys.executable
    yield server_executable
    import shutil  # slow to import, and seldom needed

    yield shutil.which("python3") or ""


def spawn_detached(argv: list[str], files: Mapping[int, int], pids: list[int]) -> None:
    """Start a program in a process group of its own, with /dev/null as its 0, 1 and 2, and these files. Raises OSError.

    Its pid is appended to ``pids`` before an interrupt can come. The caller reaps it.

    Not subprocess: its Popen would have to be kept alive, and would warn of a child that still runs when this
    interpreter ends. The program must not inherit the signals that this thread blocks: SIGCHLD wakes the guardian.
    """
    with contextlib.ExitStack() as opened:
        null = opened.enter_context(open(os.devnull, "rb+", buffering=0)).fileno()
        actions, environ = [], dict(os.environ)
        copies = Descriptors()
        close_in_child(copies)
        opened.callback(copies.close)
        for number, fd in {0: null, 1: null, 2: null, **files}.items():
            # First to a number above those that the program gets: in a daemon 0, 1 and 2 may be free.
            copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(files) + 1))
            actions.append((os.POSIX_SPAWN_DUP2, copies[-1], number))
        spawn = partial(os.posix_spawn, file_actions=actions, setpgroup=0, setsigmask=())
        pids += map(spawn, [argv[0]], [argv], [environ])
