"""Byte streams: a socket, or two descriptors. Each reads and writes with a deadline.

Knows descriptors, deadlines and the end of a stream. Never knows what the bytes mean. Python 3.6 and up; runs on both
sides. POSIX only.

A caller knows the seven methods of ``Stream`` and no more. TLS is one more stream, in ``gym_service/client``.

A deadline is a point on ``time.monotonic()``, or None for none. It holds for writing too: a peer that no longer reads
must not block a call for ever. Rejected: SO_RCVTIMEO, which the handler of a signal restarts for ever.

Interrupts. The handler of a signal may raise anything, between any two bytecodes of this module and inside its system
calls. Two things follow.

1. *How many bytes a call has moved must not get lost.* In ``size = sock.send(data)`` it does: the interpreter runs
   handlers after the call has returned and before the result is stored. So the result is stored by the same C code that
   makes the call: ``sizes += map(sock.send, [data])``. ``list.__iadd__`` calls ``map.__next__``, that calls ``send``,
   and what it returns is in the list before the interpreter looks for signals again. A call that a signal interrupts
   (EINTR) has moved nothing, and appends nothing. From then on the list says what the kernel has taken or given, and
   the next call reads it there.
2. *An OSError of the system call means that the stream has ended; one that a handler raises means nothing of the
   kind*, and a TimeoutError is an OSError. Their tracebacks tell them apart: what C code raises has the frame of the
   ``try`` as its last entry, and what a handler (or a debugger) raises has the handler's own frame after it.
"""

import collections
import contextlib
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
    """The deadline passed first. What has been sent or read until then is known, and can be gone on with."""


class Stream:
    """What a channel needs of a stream. ``buffer`` and ``pieces`` are memory; sizes are in bytes.

    ``in_doubt``: whether a call was interrupted in such a way that nobody knows how many bytes it has moved.
    """

    in_doubt = False

    def read_into(self, buffer, sizes, deadline):
        """Read at least one byte, and append how many to ``sizes``; 0 at the end of the stream.

        Blocks until the deadline. Raises ChannelClosed or ChannelTimeout.
        """
        raise NotImplementedError

    def try_read(self, buffer, sizes):
        """Read what has come, if anything has, and append how many bytes to ``sizes``; 0 at the end of the stream.

        Does not block. Raises ChannelClosed.
        """
        raise NotImplementedError

    def register(self, poll):
        """Have a poll object report what comes after ``try_read`` has read nothing, and a ``close``; the descriptors.

        Raises ChannelClosed.
        """
        raise NotImplementedError

    def write(self, pieces, sizes, deadline):
        """Write some of what the pieces hold, and append how many bytes to ``sizes``.

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


def close_all(fds):
    """Close all descriptors of a list, and empty it.

    No interrupt leaves one open, or has one closed twice: the same C code takes it out of the list and closes it.
    """
    with contextlib.suppress(IndexError):  # it is empty
        collections.deque(map(os.close, iter(fds.pop, None)), maxlen=0)


class PollingStream(Stream):
    """Reads by spinning for a moment, then with poll(). A subclass knows the descriptors."""

    def __init__(self, yields_cpu):
        self._adaptive_spin = AdaptiveSpin(yields_cpu)

    def read_into(self, buffer, sizes, deadline):
        begun = time.perf_counter()
        spin = self._adaptive_spin
        reads, buffers, polls = len(sizes), (buffer,), 0
        if spin.spinning:
            polls = self._spin(buffers, sizes, reads, begun + spin.spin_s)
        else:
            self._attempt(buffers, sizes)
        while len(sizes) == reads:
            polls = 0
            self._wait(self._readable, deadline)
            self._attempt(buffers, sizes)
        spin.record_wait(time.perf_counter() - begun, polls)

    def try_read(self, buffer, sizes):
        self._attempt((buffer,), sizes)

    def _spin(self, buffers, sizes, reads, until):
        """Read what comes before ``until``; returns how often it has tried. Between two attempts others may run."""
        attempt, now, polls = self._attempt, time.perf_counter, 1
        attempt(buffers, sizes)
        while len(sizes) == reads and now() < until:
            os.sched_yield()
            attempt(buffers, sizes)
            polls += 1
        return polls


class SocketStream(PollingStream):
    """A socket that never blocks by itself."""

    def __init__(self, sock, yields_cpu):
        super().__init__(yields_cpu)
        self._socket = sock
        self._receive, self._send, self._send_all = sock.recv_into, sock.send, sock.sendmsg
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)
        sock.setblocking(False)

    def write(self, pieces, sizes, deadline):
        while True:
            try:
                sizes += map(self._send, pieces) if len(pieces) == 1 else map(self._send_all, (pieces,))
                return
            except OSError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # by a handler: see above
                if not isinstance(error, BlockingIOError):
                    raise ChannelClosed("writing failed: %s" % error, False) from error
            self._wait(self._writable, deadline)

    def register(self, poll):
        fd = self._socket.fileno()
        if fd == -1:
            raise ChannelClosed("it was closed here", False)
        poll.register(fd, select.POLLIN)
        return [fd]

    def _attempt(self, buffers, sizes):
        """Read into the buffer if there is anything to read."""
        try:
            sizes += map(self._receive, buffers)
        except OSError as error:
            if error.__traceback__.tb_next is not None:
                raise  # by a handler: see above
            if not isinstance(error, BlockingIOError):
                raise ChannelClosed("reading failed: %s" % error, False) from error

    def _wait(self, poll, deadline):
        if self._socket.fileno() == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")

    def end_sending(self):
        self._shut_down(socket.SHUT_WR)

    def close(self):
        self._shut_down(socket.SHUT_RDWR)
        self._socket.close()

    def _shut_down(self, how):
        try:
            self._socket.shutdown(how)
        except OSError as error:
            if error.__traceback__.tb_next is not None:
                raise  # by a handler: see above. Else the other side was first, or it is closed already

    def close_copy(self):
        self._socket.close()


class PipeStream(PollingStream):
    """Two descriptors. The one to read may block: whether there is anything is asked before."""

    def __init__(self, read_fd, write_fd, yields_cpu):
        super().__init__(yields_cpu)
        self._read_fd, self._write_fd = read_fd, write_fd
        # Closing a descriptor does not wake a thread that waits on it. The end of this pipe does.
        self._woken_fd, wake_fd = os.pipe()
        self._open_fds = [*{read_fd, write_fd}, wake_fd, self._woken_fd]
        self._readable = self._poll(read_fd, select.POLLIN)
        self._writable = self._poll(write_fd, select.POLLOUT)

    def _poll(self, fd, event):
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self._woken_fd, 0)
        return poll

    def register(self, poll):
        if self._woken_fd == -1:
            raise ChannelClosed("it was closed here", False)
        poll.register(self._read_fd, select.POLLIN)
        poll.register(self._woken_fd, 0)
        return [self._read_fd, self._woken_fd]

    def _attempt(self, buffers, sizes):
        """Read into the buffer if there is anything to read."""
        try:
            if self._readable.poll(0):
                sizes += map(os.readv, (self._read_fd,), (buffers,))
        except OSError as error:
            if error.__traceback__.tb_next is not None:
                raise  # by a handler: see above
            if not isinstance(error, BlockingIOError):  # another process took it: the descriptor was inherited
                raise ChannelClosed("reading failed: %s" % error, False) from error

    def write(self, pieces, sizes, deadline):
        while True:
            try:
                sizes += map(os.writev, (self._write_fd,), (pieces,))
                return
            except OSError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # by a handler: see above
                if not isinstance(error, BlockingIOError):
                    raise ChannelClosed("writing failed: %s" % error, False) from error
            self._wait(self._writable, deadline)

    def end_sending(self):
        fd, self._write_fd = self._write_fd, -1
        if fd >= 0 and fd != self._read_fd:
            self._open_fds.remove(fd)
            os.close(fd)

    def close(self):
        # First the names: a thread that is woken finds no descriptor, least of all one that is somebody else's by now.
        self._read_fd = self._write_fd = self._woken_fd = -1
        close_all(self._open_fds)

    close_copy = close

    def _wait(self, poll, deadline):
        if self._woken_fd == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")
