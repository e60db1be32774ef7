"""Byte streams: a socket, or two descriptors. Each reads and writes with a deadline.

Knows descriptors, deadlines and the end of a stream. Never knows what the bytes mean. Python 3.6 and up; runs on both
sides. POSIX only.

A caller knows the five methods of ``Stream`` and no more. TLS is one more stream, in ``gym_service/client``.

A deadline is a point on ``time.monotonic()``, or None for none. It holds for writing too: a peer that no longer reads
must not block a call for ever. Rejected: SO_RCVTIMEO, which the handler of a signal restarts for ever.
"""

import os
import select
import socket
import time

from gym_service.transport.adaptive_spin import AdaptiveSpin

# The kernel counts a wait in milliseconds, in 31 bits: 24 days. A longer timeout ends as if it were this long.
LONGEST_WAIT_S = 2e6


class ChannelClosed(Exception):
    """The other side is gone: the stream ended, or writing to it failed. ``clean``: it ended between frames."""

    def __init__(self, text, clean):
        super().__init__(text)
        self.clean = clean


class ChannelTimeout(Exception):
    """The deadline passed first. What was half sent or half read makes the channel useless from here on."""


class Stream:
    """What a channel needs of a stream. ``buffer`` and ``pieces`` are memory; sizes are in bytes."""

    def read_into(self, buffer, deadline):
        """Read at least one byte; return how many, 0 at the end of the stream.

        Blocks until the deadline. Raises ChannelClosed or ChannelTimeout.
        """
        raise NotImplementedError

    def write(self, pieces, deadline):
        """Write some of what the pieces hold, and return how many bytes.

        Blocks until the deadline. Raises ChannelClosed or ChannelTimeout.
        """
        raise NotImplementedError

    def end_sending(self):
        """Let the peer see the end of what is sent; what it sends can still be read."""
        raise NotImplementedError

    def close(self):
        """End both directions and wake a thread that waits here. Any number of times."""
        raise NotImplementedError

    def close_copy(self):
        """Close this process's copy alone: for a forked child, whose parent goes on with the stream."""
        raise NotImplementedError


def remaining_s(deadline):
    """The seconds until a deadline. Raises ChannelTimeout once it has passed."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ChannelTimeout("the deadline passed")
    return min(remaining, LONGEST_WAIT_S)


class PollingStream(Stream):
    """Reads by spinning for a moment, then with poll(). A subclass knows the descriptors."""

    def __init__(self, yields_cpu):
        self._adaptive_spin = AdaptiveSpin(yields_cpu)
        self._spins = 0  # of the wait that is under way, unless it ends in sleep

    def read_into(self, buffer, deadline):
        begun = time.perf_counter()
        spin = self._adaptive_spin
        self._spins = 0
        try:
            size = self._spin(buffer, begun + spin.spin_s) if spin.spinning else self._attempt(buffer)
            while size is None:
                self._spins = 0
                self._wait(self._readable, deadline)
                size = self._attempt(buffer)
        except OSError as error:
            raise ChannelClosed("reading failed: %s" % error, False) from error
        spin.record_wait(time.perf_counter() - begun, self._spins)
        return size

    def _spin(self, buffer, until):
        """What comes before ``until``; None if that is nothing. Between two looks others may run."""
        attempt, now, polls = self._attempt, time.perf_counter, 1
        size = attempt(buffer)
        while size is None and now() < until:
            os.sched_yield()
            size = attempt(buffer)
            polls += 1
        self._spins = polls
        return size


class SocketStream(PollingStream):
    """A socket that never blocks by itself."""

    def __init__(self, sock, yields_cpu):
        super().__init__(yields_cpu)
        self._socket = sock
        self._receive = sock.recv_into
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)
        sock.setblocking(False)

    def write(self, pieces, deadline):
        while True:
            try:
                return self._socket.send(pieces[0]) if len(pieces) == 1 else self._socket.sendmsg(pieces)
            except BlockingIOError:
                self._wait(self._writable, deadline)
            except OSError as error:
                raise ChannelClosed("writing failed: %s" % error, False) from error

    def _attempt(self, buffer):
        try:
            return self._receive(buffer)
        except BlockingIOError:
            return None

    def _wait(self, poll, deadline):
        if self._socket.fileno() == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")

    def end_sending(self):
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is closed already

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first, or it is closed already
        self._socket.close()

    def close_copy(self):
        self._socket.close()


class PipeStream(PollingStream):
    """Two descriptors. The one to read may block: whether there is anything is asked before."""

    def __init__(self, read_fd, write_fd, yields_cpu):
        super().__init__(yields_cpu)
        self._read_fd, self._write_fd = read_fd, write_fd
        # Closing a descriptor does not wake a thread that waits on it. The end of this pipe does.
        self._woken_fd, self._wake_fd = os.pipe()
        self._readable = self._poll(read_fd, select.POLLIN)
        self._writable = self._poll(write_fd, select.POLLOUT)

    def _poll(self, fd, event):
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self._woken_fd, 0)
        return poll

    def _attempt(self, buffer):
        if not self._readable.poll(0):
            return None
        try:
            return os.readv(self._read_fd, [buffer])
        except BlockingIOError:
            return None  # another process took it: the descriptor was inherited

    def write(self, pieces, deadline):
        while True:
            try:
                return os.writev(self._write_fd, pieces)
            except BlockingIOError:
                self._wait(self._writable, deadline)
            except OSError as error:
                raise ChannelClosed("writing failed: %s" % error, False) from error

    def end_sending(self):
        fd, self._write_fd = self._write_fd, -1
        if fd >= 0 and fd != self._read_fd:
            os.close(fd)

    def close(self):
        fds = {self._read_fd, self._write_fd, self._wake_fd, self._woken_fd} - {-1}
        # First the names: a thread that is woken finds no descriptor, least of all one that is somebody else's by now.
        self._read_fd = self._write_fd = self._wake_fd = self._woken_fd = -1
        for fd in fds:
            os.close(fd)

    close_copy = close

    def _wait(self, poll, deadline):
        if self._woken_fd == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")
