"""Writes to a stream that a user holds, such as a terminal or a pipe, without ever blocking the caller.

Knows text and file descriptors. Never knows what the text means. Python 3.10 and up.

A terminal can be stopped (Ctrl-S), and a pipe can be full because nobody reads it. Both block a write for ever. A
non-blocking descriptor is no way out: the flag would also apply to every other process that has the same terminal. So a
thread writes. Its queue is bounded: text that does not fit is dropped, and the number of dropped lines is written once
there is room. The text may be lost, the caller is never held up.
"""

import contextlib
import fcntl
import os
import select
import threading
import time
from collections import deque
from typing import TextIO

from gym_service_launcher.standalone import interrupts

QUEUE_CHARS = 262_144
# Seconds that close() waits for text that is still queued.
FLUSH_S = 0.5
# A stream that has taken nothing for so many seconds counts as one that nobody reads.
UNREAD_S = 0.5


class OutputWriter:
    """A text stream for ``print`` and rich. ``write`` neither blocks nor raises, whatever becomes of the stream."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO | None) -> None:
        """Write to ``stream``, which is flushed first and must not be used until ``close``; None discards the text."""
        self._stream = stream
        self._fd = _copied_fd_of(stream)
        self._queue: deque[str] = deque()
        self._queued_chars = 0
        self._dropped_lines = 0
        self._closed = stream is None
        self._changed = threading.Condition()
        self._took_at = time.monotonic()  # when the stream last took text
        self._thread = threading.Thread(target=self._run, name="gym-service output writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue text, or drop it if the queue is full."""
        with self._changed:
            if self._closed:
                return len(text)
            if self._dropped_lines or self._queued_chars + len(text) > QUEUE_CHARS:
                self._dropped_lines += text.count("\n")
            else:
                self._queue.append(text)
                self._queued_chars += len(text)
            self._changed.notify_all()
        return len(text)

    def wait_for_room(self, size_chars: int) -> None:
        """Wait until so much text fits into the queue, as long as the stream takes text: for a caller that may wait.

        Returns UNREAD_S after the stream has last taken some, at the latest; so at once where it is stopped for longer.
        """
        with self._changed:
            while not self._closed and self._queued_chars + size_chars > QUEUE_CHARS:
                remaining_s = self._took_at + UNREAD_S - time.monotonic()
                if remaining_s <= 0:
                    return
                self._changed.wait(remaining_s)

    def flush(self) -> None:
        """Do nothing: the text is written as soon as the stream takes it."""

    def isatty(self) -> bool:
        return self._fd is not None and not self._closed and os.isatty(self._fd)

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Take no more text, and wait until what is queued is written, for at most ``timeout_s`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):  # the reader is gone, or the stream is closed
                while (text := self._next()) is not None:
                    self._write(text)
                    with self._changed:
                        self._took_at = time.monotonic()
                        self._changed.notify_all()
        finally:
            with self._changed:
                self._closed = True
                self._queue.clear()
            if self._fd is not None:
                os.close(self._fd)

    def _next(self) -> str | None:
        """Wait for text and take it; None once there is no more."""
        with self._changed:
            while not (self._queue or self._dropped_lines or self._closed):
                self._changed.wait()
            if self._queue:
                text = self._queue.popleft()
                self._queued_chars -= len(text)
                return text
            if self._dropped_lines:
                lines, self._dropped_lines = self._dropped_lines, 0
                return f"({lines} lines were dropped here, because nobody read the output)\n"
            return None

    def _write(self, text: str) -> None:
        if self._fd is None:
            assert self._stream is not None
            self._stream.write(text)
            self._stream.flush()
            return
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another process has made the descriptor non-blocking
                select.select([], [self._fd], [])


def _copied_fd_of(stream: TextIO | None) -> int | None:
    """A descriptor to write past a stream's buffer: a thread that blocks in there would block the exit too.

    A copy: the stream may be closed, and its number become that of another file.
    """
    if stream is None:
        return None
    try:
        stream.flush()
        return fcntl.fcntl(stream.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    except (AttributeError, OSError, ValueError) as error:  # not a file: of a notebook, or captured
        interrupts.raise_if_from_handler(error)
        return None
