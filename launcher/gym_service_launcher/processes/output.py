"""What a child prints: always drained, by one thread, into a bounded tail and a bounded log.

Knows a pipe and its reader. Never knows what prints, or why. Python 3.10 and up.
"""

import contextlib
import errno
import sys
import threading
import time

from gym_service_launcher.processes.logs import Log

TAIL_BYTES = 65536


class OutputTail:
    """The reading end of a pipe, which it owns. A process that prints much neither blocks nor fills the memory."""

    def __init__(self, fd: int, *, show: bool = False, log: Log | None = None) -> None:
        """Begin to drain, into ``log`` too. ``show`` copies all of it to this process's stderr as it comes.

        Raises OSError where no thread can be started; the descriptor stays the caller's then.
        """
        self._tail = bytearray()
        self._total_bytes = 0
        self._grown = threading.Condition()
        self._show = show
        self._log = log
        self._thread = threading.Thread(target=self._drain, args=(fd,), name="gym-service output", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the limit of processes of this user, or of a container
            raise OSError(errno.EAGAIN, f"{error} to read its output") from error

    @property
    def total_bytes(self) -> int:
        """The size of all that has come so far."""
        return self._total_bytes

    def tail(self) -> str:
        """The end of it, TAIL_BYTES at most. Bytes that are not UTF-8 appear as escapes."""
        return self.since(0)

    def since(self, since_bytes: int) -> str:
        """What came after the first ``since_bytes``, as ``tail`` gives it."""
        return _text(self._since(since_bytes))

    def wait_for(self, word: bytes, since_bytes: int, timeout_s: float) -> str:
        """What came after the first ``since_bytes``, once ``word`` is in it, or after ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        with self._grown:
            while word not in self._since(since_bytes) and (remaining_s := deadline - time.monotonic()) > 0:
                self._grown.wait(remaining_s)
        return self.since(since_bytes)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of it, ``timeout_s`` seconds at most: another process may hold the pipe open for ever."""
        self._thread.join(timeout_s)

    def _since(self, since_bytes: int) -> bytes:
        new = min(self._total_bytes - since_bytes, TAIL_BYTES)
        return bytes(self._tail[-new:]) if new > 0 else b""

    def _drain(self, fd: int) -> None:
        with open(fd, "rb", buffering=0) as pipe:
            while data := pipe.read(TAIL_BYTES):
                with self._grown:
                    self._tail += data
                    self._total_bytes += len(data)
                    if len(self._tail) > 2 * TAIL_BYTES:
                        del self._tail[:-TAIL_BYTES]
                    self._grown.notify_all()
                if self._log:
                    self._log.write(data)
                if self._show:
                    _copy_to_stderr(data)
        if self._log:
            self._log.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _copy_to_stderr(data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # it is closed, or its disk is full: that must not fail a call
        sys.stderr.write(_text(data))
        sys.stderr.flush()
