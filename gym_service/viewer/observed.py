"""A look at one running server: asks it for pictures through its record, and receives them.

Knows the record's page and the datagrams of ``gym_service/server/viewer_link.py``, with which it must change together.
Never knows what shows them. Linux, Python 3.10 and up.

The trainer takes no part: the record belongs to this user, and the server reads it between two calls. One process looks
at a server at a time: it holds a lock on the record, which the kernel releases with the process.
"""

import contextlib
import fcntl
import json
import mmap
import os
import socket
import stat
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gym_service_launcher.processes import pidfiles

from gym_service.errors import GymServiceError

WANTED, UNTIL_NS, PER_1000_S, COUNT, VERSION = range(5)
THIS_VERSION = 1
# How long a request for pictures holds without being renewed, in seconds. Renew it twice as often at least.
HOLDS_S = 3.0
# A datagram of the server: far more than it sends.
DATAGRAM_BYTES = 2**20
WORD_BYTES = 8
# The size of sun_path without its NUL, on every system.
LONGEST_PATH_BYTES = 103


class CannotLook(GymServiceError):
    """Why this server cannot be looked at, in a sentence for the page."""


@dataclass
class View:
    """What a server has sent: its numbers, as ``viewed_env.py`` names them, and its pictures."""

    facts: dict[str, Any]
    arrays: list[np.ndarray] = field(default_factory=list)


class ObservedServer:
    """Asks one server for pictures from now on, until it is closed."""

    def __init__(self, record: Path, *, fps: float, count: int) -> None:
        """Begin to look.

        Args:
            record: the server's, as in ``ServerInfo``.
            fps: pictures per second at most.
            count: of how many envs of a batch.

        Raises:
            CannotLook: it cannot be observed, or another process looks at it.
            OSError: it has ended.
        """
        self._path = record.with_suffix(".view")
        self._memory: mmap.mmap | None = None
        with contextlib.ExitStack() as undo:
            self._lock = _open(record)
            undo.callback(os.close, self._lock)
            self._words = _words(self._lock)
            if self._words[VERSION] != THIS_VERSION:
                raise CannotLook(
                    "it cannot be looked at from outside: it runs behind a command or in a container, or another "
                    "version of gym-service has started it"
                )
            self._socket = _bind(self._path)
            undo.callback(self._socket.close)
            self._fps, self._count = fps, count
            self.renew()
            undo.pop_all()

    def fileno(self) -> int:
        """What to poll: readable when the server has sent something."""
        return self._socket.fileno()

    def renew(self, *, fps: float | None = None, count: int | None = None) -> None:
        """Ask for HOLDS_S more seconds, perhaps for more or less than before."""
        self._fps, self._count = fps or self._fps, count or self._count
        self._words[PER_1000_S], self._words[COUNT] = max(1, int(self._fps * 1000)), self._count
        self._words[UNTIL_NS] = time.monotonic_ns() + int(HOLDS_S * 1e9)
        self._words[WANTED] = 1

    @property
    def is_asked(self) -> bool:
        """Whether the request still stands. The server takes it back where it cannot send."""
        return bool(self._words[WANTED])

    def receive(self) -> View | None:
        """The next of what has come; None if nothing has. Does not block."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, DATAGRAM_BYTES, 2)
            except BlockingIOError:
                return None
            try:
                facts = json.loads(data)
                if fds:
                    self._memory = mmap.mmap(fds[0], os.fstat(fds[0]).st_size)
                arrays = self._arrays(facts)
            except (OSError, ValueError, KeyError, TypeError, struct.error):  # not from a server of this version
                arrays = None
            finally:
                for fd in fds:
                    os.close(fd)
            if arrays is not None:
                return View(facts, arrays)

    def _arrays(self, facts: dict[str, Any]) -> list[np.ndarray] | None:
        """Copies of the pictures; None if the server has begun to write the next ones there."""
        if "place" not in facts or self._memory is None:
            return []
        memory, place = self._memory, facts["place"]
        arrays = [np.array(np.ndarray(shape, dtype, memory, at)) for at, shape, dtype in facts.pop("arrays")]
        (number,) = struct.unpack_from("=Q", memory, place)
        return arrays if number == facts["number"] else None

    def close(self) -> None:
        """Ask for nothing any more."""
        self._words[WANTED] = 0
        self._words.release()
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._lock)


def _open(record: Path) -> int:
    """A descriptor of the record, locked. Raises CannotLook and OSError."""
    fd = os.open(record, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise CannotLook(f"{record} is not a private file of yours")
        if found.st_size < pidfiles.RECORD_BYTES:
            raise CannotLook("it is starting")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise CannotLook("another gym-service view of yours looks at it already: use its page") from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _words(fd: int) -> memoryview:
    memory = mmap.mmap(fd, pidfiles.RECORD_BYTES)
    return memoryview(memory)[pidfiles.VIEWERS_AT :].cast("Q")


def _bind(path: Path) -> socket.socket:
    """A socket for datagrams at the path; one of a dead viewer is replaced: the lock says that it is dead."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        sock.setblocking(False)
        with _short(path) as address:
            sock.bind(address)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


@contextlib.contextmanager
def _short(path: Path) -> Any:
    """A path that fits into the address of a socket, while the block runs."""
    if len(os.fsencode(path)) <= LONGEST_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
