"""What a child prints: always drained, by one thread, into a bounded tail and a bounded log.

Knows a pipe and its reader. Never knows what prints, or why. Python 3.10 and up.
"""

import codecs
import errno
import sys
import threading
import time

from gym_service_launcher.processes.logs import Log
from gym_service_launcher.processes.output_writer import OutputWriter
from gym_service_launcher.standalone import interrupts

TAIL_BYTES = 65536


class OutputTail:
    """The reading end of a pipe, which it owns. A process that prints much neither blocks nor fills the memory."""

    def __init__(self, fds: list[int], *, show: bool = False, log: Log | None = None) -> None:
        """Begin to drain, into ``log`` too. ``show`` copies it to this process's stderr as it comes.

        The only descriptor of ``fds`` is taken out of the list, then it belongs to the thread that drains it. So an
        interrupt leaves no doubt about who closes it.

        Where that stderr is full and nobody reads it, the text is dropped: neither the child nor a call waits for a
        terminal.

        Raises OSError where no thread can be started; the descriptor stays in the list then.
        """
        self._tail = bytearray()
        self._total_bytes = 0
        self._grown = threading.Condition()
        self._shown: OutputWriter | None = None
        self._log = log
        self._thread = threading.Thread(target=self._run, args=(fds,), name="gym-service output", daemon=True)
        try:
            if show:
                self._shown = OutputWriter(sys.stderr)
            self._thread.start()
        except RuntimeError as error:  # the limit of processes of this user, or of a container
            if self._shown:
                self._shown.close()
            interrupts.raise_if_from_handler(error)
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

    def _run(self, fds: list[int]) -> None:
        try:
            fd = fds.pop()
        except IndexError:  # the start was interrupted, and has closed it
            return
        self._drain(fd)

    def _drain(self, fd: int) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
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
                if self._shown:
                    text = decoder.decode(data)
                    self._shown.wait_for_room(len(text))
                    self._shown.write(text)
        if self._log:
            self._log.close()
        if self._shown:
            self._shown.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
