"""The client's end of the guardian: starts it with the first server, and holds a lifeline for each server.

Knows the guardian's contract (``standalone/guardian.py``). Never knows what a server is for. Python 3.10 and up.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, cast

from gym_service_launcher.processes.forked_copies import close_in_child, refuse_child
from gym_service_launcher.processes.guardian_process import GuardianProcess
from gym_service_launcher.standalone import fd_passing, guardian, interrupts
from gym_service_launcher.standalone.guardian import Order

# For an answer that the guardian gives at once. On a loaded machine it may have to wait for a processor.
ANSWER_S = 10.0
# After this long without an answer, a spawner may be stopped.
SUSPECT_S = 1.0
# The kernel counts a wait in milliseconds, in 31 bits. 24 days stand for every longer wait.
LONGEST_WAIT_S = 2e6
# The largest request that is sent to a guardian that still starts. The kernel takes three times as much while nobody
# reads; beyond that, sending would wait for the guardian without a limit.
SENT_EARLY_BYTES = 64 * 1024

ProcessState = Literal["stopped", "blocked", "busy", "unknown"]

_starting = threading.Lock()
_guardian: GuardianProcess | None = None


class ServerSpawner(Protocol):
    """A process that keeps the guardian's contract, and forks servers instead of executing them."""

    @property
    def record(self) -> Path | None:
        """Its record. Once nothing of it is left, this file is removed, and those whose names begin like it."""

    def request(self, fds: Sequence[int], texts: bytes) -> None:
        """Send it one request. Raises OSError where it has ended."""

    def has_died(self) -> bool:
        """Whether it is known to have ended. Does not block."""

    def is_stopped(self) -> bool:
        """Whether it is stopped (SIGSTOP, a debugger), and so answers nothing. Blocks for some 100 ms."""


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    fds: Sequence[int],
    record: Path | None = None,
    spawner: ServerSpawner | None = None,
    *,
    process_id: int,
) -> "Lifeline":
    """Have the guardian, or a spawner, start a program, with ``fds`` as its 0, 1, 2, …. They stay open here.

    The guardian creates the file ``record``, empty, and removes it once nothing of the program is left, also where
    this process is killed before that.

    ``process_id`` is that of the process to which the record and the descriptors belong. A child that a signal handler
    has forked since is refused.

    Blocks until the program runs: 1 ms, and some 30 ms more for the first one of this process, which starts the
    guardian.

    Raises:
        OSError: it cannot be executed, ``cwd`` is no folder, no guardian can be started, the spawner has ended, or this
            is a forked child of ``process_id``.
        SpawnerStopped: the spawner is stopped.
    """
    texts = _texts(argv, env, cwd, record)
    if spawner:
        return _start(argv[0], texts, fds, process_id, spawner.request, spawner.has_died, spawner.is_stopped)
    request = partial(_request, argv[0], process_id)
    try:
        return _start(argv[0], texts, fds, process_id, request, _has_died)
    except GuardianDied:  # and so has everything that it had started: another guardian starts the program
        return _start(argv[0], texts, fds, process_id, request, _has_died)


class GuardianDied(OSError):
    """The guardian or the spawner ended before it had answered."""


class SpawnerStopped(OSError):
    """The spawner answers nothing, since it is stopped. What it forks once it goes on is killed at once."""


def _start(
    program: str,
    texts: bytes,
    fds: Sequence[int],
    process_id: int,
    request: Callable[[Sequence[int], bytes], None],
    has_died: Callable[[], bool],
    is_stopped: Callable[[], bool] = lambda: False,
) -> "Lifeline":
    ours, theirs = socket.socketpair()
    close_in_child(ours)
    close_in_child(theirs)
    if process_id != os.getpid():  # not shut down, as a lifeline is: both are the parent's
        ours.close()
        theirs.close()
        refuse_child(process_id)
    lifeline = Lifeline(ours)
    try:
        with theirs:
            request([theirs.fileno(), *fds], texts)
        lifeline.wait_for_start(program, has_died, is_stopped)
    except BaseException:
        lifeline.close()
        raise
    return lifeline


class Lifeline:
    """Ties one server to this process: orders go over it, its end is told on it, and closing it kills the server."""

    def __init__(self, sock: socket.socket) -> None:
        self.pid = 0
        self._socket = sock
        self._unread = b""  # lines of the guardian
        self._exit_code: int | None = None
        self._lost = False  # whether the guardian has ended
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """What to poll: readable once the guardian has sent something. -1 when closed."""
        return self._socket.fileno()

    def wait_for_start(self, program: str, has_died: Callable[[], bool], is_stopped: Callable[[], bool]) -> None:
        """Wait until the pid is known. Raises OSError where the program could not be executed."""
        line = self._line(("pid", "errno"), SUSPECT_S)
        if line is None and not self._lost:
            if is_stopped():
                raise SpawnerStopped("the process that starts it is stopped")
            line = self._line(("pid", "errno"), ANSWER_S)
        if line is None and self._lost and has_died():
            raise GuardianDied("the process that starts it has ended, or was killed")
        if line is None:
            raise OSError("the process that starts it does not answer; it may have too many files open (ulimit -n)")
        word, number = line
        if word == "errno":
            raise OSError(int(number), os.strerror(int(number)), program)
        self.pid = int(number)

    def exit_code(self, timeout_s: float) -> int | None:
        """The server's exit code (negative: a signal), once nothing of it is left; None before that.

        Blocks for ``timeout_s`` seconds at most. A guardian that was killed has taken its servers with it.
        """
        with self._lock:
            if self._exit_code is None and (line := self._line(("ended",), timeout_s)):
                self._exit_code = int(line[1])
            if self._exit_code is None and self._lost:
                self._exit_code = -9
            return self._exit_code

    def classify_main_thread(self) -> ProcessState:
        """Observe the server's main thread for 100 ms, without disturbing it. ``unknown``: /proc does not tell."""
        with self._lock:
            self.order(Order.DIAGNOSE)
            line = self._line(("state",), ANSWER_S / 10)
        return cast(ProcessState, line[1]) if line else "unknown"

    def order(self, order: Order) -> None:
        """Send the guardian an order. Nothing happens where the server or the guardian has ended."""
        try:
            self._socket.send(order.value, fd_passing.NO_SIGNAL)
        except OSError as error:
            interrupts.raise_if_from_handler(error)

    def close(self) -> None:
        """Kill what is left of the server, also where a forked child holds a copy of the lifeline."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:  # the guardian was first
            interrupts.raise_if_from_handler(error)
        self._socket.close()

    def _line(self, words: tuple[str, ...], timeout_s: float) -> tuple[str, str] | None:
        """The next line that begins with one of the words, split there; None where none comes in time.

        Other lines stay unread.
        """
        deadline = time.monotonic() + timeout_s
        kept: list[bytes] = []
        try:
            while True:
                while b"\n" in self._unread:
                    line, _, self._unread = self._unread.partition(b"\n")
                    word, _, rest = line.decode("ascii").partition(" ")
                    if word in words:
                        return word, rest
                    kept.append(line + b"\n")
                if not self._read_more(deadline):
                    return None
        finally:
            self._unread = b"".join(kept) + self._unread

    def _read_more(self, deadline: float) -> bool:
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
            if not poll.poll(min(max(0.0, deadline - time.monotonic()), LONGEST_WAIT_S) * 1000):
                return False
            data = self._socket.recv(4096)
        except (OSError, ValueError) as error:  # closed here, perhaps by another thread
            interrupts.raise_if_from_handler(error)
            data = b""
        self._lost = self._lost or not data
        self._unread += data
        return bool(data)


def _texts(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, record: Path | None) -> bytes:
    variables = (f"{name}={value}" for name, value in env.items())
    texts = [str(len(argv)), *argv, str(cwd or Path.cwd()), str(record or ""), *variables]
    return b"".join(os.fsencode(text) + b"\0" for text in texts)


def ensure(*, portable: bool = False) -> None:
    """Start this process's guardian now and not with the first server. Blocks for some 30 ms. Raises OSError.

    Args:
        portable: use only what every system has; for trying that out on Linux.
    """
    global _guardian
    with _starting:
        if _guardian is None:
            _guardian = _started(portable=portable)
        _guardian.wait_for_start()


@contextlib.contextmanager
def started_early() -> Iterator[None]:
    """Have the guardian start while the block does something else. Where that fails, the first server tells why."""
    global _guardian
    with _starting, interrupts.suppress(OSError):
        if _guardian is None:
            _guardian = _started()
    try:
        yield
    finally:
        with _starting, interrupts.suppress(OSError):
            if _guardian and _guardian.is_ours:
                _guardian.wait_for_start()


def _started(server_executable: str = "", *, portable: bool = False) -> GuardianProcess:
    """A new guardian. Raises OSError, also in a child that was forked meanwhile."""
    process_id = os.getpid()
    guardian_process = GuardianProcess(server_executable, portable=portable)
    refuse_child(process_id)
    return guardian_process


def _forget() -> None:
    """A forked child starts a guardian of its own. A thread that the child does not have may have held the lock."""
    global _guardian, _starting
    forgotten, _guardian, _starting = _guardian, None, threading.Lock()
    if forgotten:
        forgotten.forget()


os.register_at_fork(after_in_child=_forget)


def _has_died() -> bool:
    return _guardian is None or not _guardian.is_ours or _guardian.has_ended()


def _request(server_executable: str, process_id: int, fds: Sequence[int], texts: bytes) -> None:
    """Send the guardian one request. Where there is none, or it has ended, start another. Raises OSError.

    ``process_id``: that of the process whose request it is. A forked child that comes back to it must not make it too.
    """
    global _guardian
    with _starting:
        for _ in range(2):
            refuse_child(process_id)
            if _guardian is None or not _guardian.is_ours:
                _guardian = _started(server_executable)
                refuse_child(process_id)
            # Where sending fails although the guardian lives (no descriptor is free), it stays, and so do its servers.
            if len(texts) > SENT_EARLY_BYTES:
                _wait_for_start(_guardian)
            is_sent = _sent(_guardian, fds, texts)
            _wait_for_start(_guardian)
            if is_sent:
                return
            _drop_guardian()
    raise GuardianDied("the guardian ended twice in a row")


def _sent(guardian_process: GuardianProcess, fds: Sequence[int], texts: bytes) -> bool:
    """Send the request, also to a guardian that still starts: then it need not wait for this process. False: it ended.

    Raises OSError where it cannot be sent for another reason.
    """
    with guardian_process.control() as control:
        try:
            send_request(control, fds, texts)
        except (BrokenPipeError, ConnectionResetError) as error:
            interrupts.raise_if_from_handler(error)
            return False
    return True


def _wait_for_start(guardian_process: GuardianProcess) -> None:
    """Wait until the guardian has started. Where it does not, let go of it, and raise OSError."""
    try:
        guardian_process.wait_for_start()
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        _drop_guardian()
        raise


def _drop_guardian() -> None:
    """Let go of a guardian that has ended."""
    global _guardian
    ended, _guardian = _guardian, None
    if ended:
        ended.dispose()


def send_request(control: socket.socket, fds: Sequence[int], texts: bytes) -> None:
    """Request a server, as the guardian's contract says. Raises OSError where the guardian has ended.

    In one call of the system: an interrupt between two would leave half a request, whose rest the next request would
    seem to be. Only where the texts are larger than the socket's buffer, some 200 KiB, it takes more calls.
    """
    fd_passing.send(control, guardian.HEADER.pack(len(texts)) + texts, fds)
