"""The client's end of a new stream, and what passes on it before the first frame.

Knows sockets, pipes and deadlines. Never knows what a frame is: the factory makes a channel of an end once the server
is up. Python 3.10 and up.

A deadline is a point on ``time.monotonic()``; ``math.inf`` means none.
"""

import math
import os
import select
import socket
import time

from gym_service_launcher.net import sigpipe
from gym_service_launcher.processes.forked_copies import close_in_child
from gym_service_launcher.standalone import interrupts

# The kernel counts a wait in milliseconds, in 31 bits. 24 days stand for every longer wait.
LONGEST_WAIT_S = 2e6
# What is kept of the bytes before a mark: the beginning, where a program says what is wrong, and the end.
FIRST_BYTES, LAST_BYTES = 8192, 32768


class SocketEnd:
    """A connected stream socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        close_in_child(sock)

    def fileno(self) -> int:
        """What to poll for something to read."""
        return self.sock.fileno()

    def read(self, most_bytes: int, deadline: float) -> bytes:
        """The next bytes, at least one; none at the end of the stream. Raises TimeoutError."""
        self.sock.settimeout(_remaining_s(deadline))
        try:
            return self.sock.recv(most_bytes)
        except TimeoutError:
            raise
        except OSError as error:  # the peer has gone, with bytes of ours unread
            interrupts.raise_if_from_handler(error)
            return b""

    def end_sending(self) -> None:
        """Let the peer see the end of what is sent. What the peer sends can still be read."""
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError as error:  # it is closed already
            interrupts.raise_if_from_handler(error)

    def close(self) -> None:
        self.sock.close()


class TlsEnd(SocketEnd):
    """A connected ``ssl.SSLSocket`` whose handshake is done."""


class PipeEnds:
    """Two descriptors, neither of which blocks. It owns them until ``detach``."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        close_in_child(self)

    def fileno(self) -> int:
        """What to poll for something to read."""
        return self.read_fd

    def read(self, most_bytes: int, deadline: float) -> bytes:
        """The next bytes, at least one; none at the end of the stream. Raises TimeoutError."""
        while True:
            if not wait([(self.read_fd, select.POLLIN)], deadline):
                raise TimeoutError
            try:
                return os.read(self.read_fd, most_bytes)
            except BlockingIOError as error:  # another process has read it
                interrupts.raise_if_from_handler(error)

    def write_some(self, data: memoryview) -> int:
        """Write what fits, and return how many bytes. All of it where no process reads it any more."""
        try:
            return sigpipe.without(os.write, self.write_fd, data)
        except BlockingIOError as error:
            interrupts.raise_if_from_handler(error)
            return 0
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            return len(data)

    def end_sending(self) -> None:
        """Let the peer see the end of what is sent. What the peer sends can still be read."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def detach(self) -> tuple[int, int]:
        """Give up both descriptors: (read, write), the caller's to close."""
        fds = self.read_fd, self.write_fd
        self.read_fd = self.write_fd = -1
        return fds

    def close(self) -> None:
        for fd in self.detach():
            if fd >= 0:
                os.close(fd)


StreamEnd = SocketEnd | TlsEnd | PipeEnds


class Opening:
    """What passes before the first frame: bytes for the server, and what comes before its mark.

    A shell, ssh or a container may print before the server begins. ``printed`` keeps that. An empty ``mark`` means that
    the first frame comes at once.
    """

    def __init__(self, mark: bytes = b"") -> None:
        self.mark = mark
        self._read = bytearray()  # the mark included, once it has come

    @property
    def is_over(self) -> bool:
        """Whether the mark has come."""
        return self._read.endswith(self.mark)

    @property
    def printed(self) -> str:
        """What came before the mark: the beginning and the end of it."""
        read = self._read[: len(self._read) - len(self.mark)] if self.is_over else self._read
        return bytes(read).decode("utf-8", "backslashreplace")

    def wait(self, end: StreamEnd, deadline: float) -> bool:
        """Read up to the mark; False where it has not come by the deadline. Raises EOFError where the stream ended."""
        try:
            while not self.is_over:
                self.read(end, deadline)
        except TimeoutError as error:
            interrupts.raise_if_from_handler(error)
            return False
        return True

    def send(self, end: PipeEnds, data: memoryview, deadline: float) -> memoryview:
        """Write the data, and read meanwhile: a peer that prints much before it reads would wait for ever otherwise.

        Returns what was not sent by the deadline. Raises EOFError where the stream ended.
        """
        while data:
            reads = [] if self.is_over else [(end.read_fd, select.POLLIN)]
            ready = wait([(end.write_fd, select.POLLOUT), *reads], deadline)
            if not ready:
                break
            if end.write_fd in ready:
                data = data[end.write_some(data) :]
            elif end.read_fd in ready:
                self.read(end, deadline)
        return data

    def read(self, end: StreamEnd, deadline: float) -> None:
        """Read some bytes, none of which is the first frame's. Raises EOFError, TimeoutError.

        What follows the mark belongs to the first frame. So this never reads more than the mark still lacks.
        """
        begun = next(size for size in range(len(self.mark) - 1, -1, -1) if self._read.endswith(self.mark[:size]))
        data = end.read(len(self.mark) - begun, deadline)
        if not data:
            raise EOFError
        self.keep(data)

    def keep(self, data: bytes) -> None:
        """Take note of bytes that were read in another way."""
        self._read += data
        if len(self._read) > FIRST_BYTES + 2 * LAST_BYTES:
            del self._read[FIRST_BYTES:-LAST_BYTES]


def wait(wanted: list[tuple[int, int]], deadline: float) -> set[int]:
    """Wait for one of (descriptor, events). Returns the descriptors that are ready; none at the deadline."""
    poll = select.poll()
    for fd, events in wanted:
        poll.register(fd, events)
    remaining_s = min(max(deadline - time.monotonic(), 0.0), LONGEST_WAIT_S)
    return {fd for fd, _ in poll.poll(remaining_s * 1000)}


def _remaining_s(deadline: float) -> float | None:
    if deadline == math.inf:
        return None
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return min(remaining, LONGEST_WAIT_S)
