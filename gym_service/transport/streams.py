"""Byte streams: a socket, or two descriptors. Each reads and writes with a deadline.

Knows descriptors, deadlines and the end of a stream. Never knows what the bytes mean. Python 3.6 and up; runs on both
sides. POSIX only.

A caller uses only the methods of ``Stream``. TLS is another stream, in ``gym_service/client``.

A deadline is a time on ``time.monotonic()``, or None for no deadline. It applies to writing too: a peer that no longer
reads must not block a call for ever. Rejected: SO_RCVTIMEO, since each signal handler restarts it, for ever.

Interrupts. A signal handler may raise anything, between any two bytecodes of this module and inside its system calls.
Two rules follow.

1. *The number of bytes that a call has moved must not get lost.* In ``size = sock.send(data)`` it can: the interpreter
   runs handlers after the call has returned and before the result is stored. So the C code that makes the call must
   also store the result: ``sizes += map(sock.send, [data])``. ``list.__iadd__`` calls ``map.__next__``, which calls
   ``send``, and the result is in the list before the interpreter checks for signals again. A call that a signal
   interrupts (EINTR) has moved nothing, and appends nothing. So the list always says what the kernel has taken or
   given, and the next call reads it there.
2. *An OSError of the system call means that the stream has ended; one from a handler does not*, and a TimeoutError is
   an OSError. Their tracebacks tell them apart: for an exception of C code the last entry is the frame of the ``try``;
   for one of a handler (or a debugger) the handler's own frame comes after it.
"""

import collections
import contextlib
import os
import select
import socket
import time

from gym_service.transport import sigpipe
from gym_service.transport.adaptive_spin import AdaptiveSpin
from gym_service.transport.sigpipe import NO_SIGNALS

# The kernel counts a wait in milliseconds, in 31 bits: 24 days. A longer timeout ends after this time.
LONGEST_WAIT_S = 2e6
# Of so many waits one is measured. To measure all of them costs two busy processes some per cent of a light step.
MEASURED_EVERY = 4


class ChannelClosed(Exception):
    """The peer is gone: the stream ended, or writing to it failed. ``clean``: it ended between frames."""

    def __init__(self, text, clean):
        super().__init__(text)
        self.clean = clean


class ChannelTimeout(Exception):
    """The deadline has passed. The bytes sent or read until then are recorded, so that the channel can go on."""


class Stream:
    """The methods that a channel needs from a stream. ``buffer`` and ``pieces`` are memory; sizes are in bytes.

    ``in_doubt``: whether an interrupt has made the number of bytes that a call has moved unknown.
    """

    in_doubt = False
    # A C function that sends one piece, with flags, without blocking, and returns how many bytes it has taken; None if
    # there is none. It raises OSError where ``write`` waits or raises.
    send_one = None

    def read_into(self, buffer, sizes, deadline):
        """Read at least one byte, and append the number of bytes to ``sizes``; 0 at the end of the stream.

        Blocks until the deadline. Raises ChannelClosed or ChannelTimeout.
        """
        raise NotImplementedError

    def try_read(self, buffer, sizes):
        """Read available bytes, if there are any, and append their number to ``sizes``; 0 at the end of the stream.

        Does not block. Raises ChannelClosed.
        """
        raise NotImplementedError

    def register(self, poll):
        """Let a poll object report data after an empty ``try_read``, and a ``close``. Returns the descriptors.

        Raises ChannelClosed.
        """
        raise NotImplementedError

    def write(self, pieces, sizes, deadline):
        """Write some bytes of the pieces, and append their number to ``sizes``.

        Blocks until the deadline. Raises ChannelClosed or ChannelTimeout.
        """
        raise NotImplementedError

    def end_sending(self):
        """Signal the end of the stream to the peer; its data can still be read."""
        raise NotImplementedError

    def close(self):
        """End both directions and wake a thread that waits here. May be called repeatedly."""
        raise NotImplementedError

    def close_copy(self):
        """Close only this process's copy: for a forked child, whose parent goes on using the stream."""
        raise NotImplementedError


def remaining_s(deadline):
    """The seconds until a deadline. Raises ChannelTimeout once it has passed."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ChannelTimeout("the deadline passed")
    return min(remaining, LONGEST_WAIT_S)


def close_all(fds):
    """Close all descriptors of a list, and empty it.

    No interrupt leaves one open or closes one twice: the same C code removes it from the list and closes it.
    """
    with contextlib.suppress(IndexError):  # the list is empty
        collections.deque(map(os.close, iter(fds.pop, None)), maxlen=0)


class PollingStream(Stream):
    """Reads by spinning for a moment, then with poll(). A subclass knows the descriptors."""

    def __init__(self, yields_cpu):
        self._adaptive_spin = AdaptiveSpin(yields_cpu, MEASURED_EVERY)
        self._last_wait = ()  # how long it took, and its polls, if it was measured

    def read_into(self, buffer, sizes, deadline):
        now, spin, reads, polls = time.perf_counter, self._adaptive_spin, len(sizes), 0
        if self._last_wait:  # recorded now, while the peer works: after the wait it would delay the caller
            spin.record_wait(*self._last_wait)
            self._last_wait = ()
        spin.unmeasured -= 1
        begun, buffers, poll = now(), (buffer,), self._readable.poll
        # A read that finds nothing raises, which takes five times as long as a poll.
        if spin.spinning:
            yield_cpu, until, polls = os.sched_yield, begun + spin.spin_s, 1
            while not poll(0) and now() < until:
                yield_cpu()  # other processes may run
                polls += 1
        elif not poll(0):
            self._wait(self._readable, deadline)
        self._attempt(buffers, sizes)
        while len(sizes) == reads:
            polls = 0
            self._wait(self._readable, deadline)
            self._attempt(buffers, sizes)
        if spin.unmeasured < 0:
            self._last_wait = now() - begun, polls

    def try_read(self, buffer, sizes):
        self._attempt((buffer,), sizes)


class SocketStream(PollingStream):
    """A socket that never blocks by itself."""

    def __init__(self, sock, yields_cpu):
        super().__init__(yields_cpu)
        self._socket = sock
        self._receive, self.send_one, self._send_all = sock.recv_into, sock.send, sock.sendmsg
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)
        sock.setblocking(False)

    def write(self, pieces, sizes, deadline):
        while True:
            try:
                if len(pieces) == 1:
                    sizes += map(self.send_one, pieces, NO_SIGNALS)
                else:
                    sizes += map(self._send_all, (pieces,), ((),), NO_SIGNALS)
                return
            except OSError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # raised by a signal handler: see the module's docstring
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
        """Read into the buffer if data is available."""
        try:
            sizes += map(self._receive, buffers)
        except OSError as error:
            if error.__traceback__.tb_next is not None:
                raise  # raised by a signal handler: see the module's docstring
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
                raise  # raised by a signal handler. Otherwise the peer was first, or the socket is closed already

    def close_copy(self):
        self._socket.close()


class PipeStream(PollingStream):
    """Two descriptors. The one to read may be in blocking mode, so poll() checks it before each read."""

    def __init__(self, read_fd, write_fd, yields_cpu):
        super().__init__(yields_cpu)
        self._read_fd, self._write_fd = read_fd, write_fd
        # Closing a descriptor does not wake a thread that waits on it. Ending this pipe does.
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
        """Read into the buffer if data is available."""
        try:
            if self._readable.poll(0):
                sizes += map(os.readv, (self._read_fd,), (buffers,))
        except OSError as error:
            if error.__traceback__.tb_next is not None:
                raise  # raised by a signal handler: see the module's docstring
            if not isinstance(error, BlockingIOError):  # another process that inherited the descriptor took the data
                raise ChannelClosed("reading failed: %s" % error, False) from error

    def write(self, pieces, sizes, deadline):
        if sigpipe.is_fatal():
            sigpipe.without(self._write, pieces, sizes, deadline)
        else:
            self._write(pieces, sizes, deadline)

    def _write(self, pieces, sizes, deadline):
        while True:
            try:
                sizes += map(os.writev, (self._write_fd,), (pieces,))
                return
            except OSError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # raised by a signal handler: see the module's docstring
                if not isinstance(error, BlockingIOError):
                    raise ChannelClosed("writing failed: %s" % error, False) from error
            self._wait(self._writable, deadline)

    def end_sending(self):
        fd, self._write_fd = self._write_fd, -1
        if fd >= 0 and fd != self._read_fd:
            self._open_fds.remove(fd)
            os.close(fd)

    def close(self):
        # The attributes first: a thread that wakes up must not use a descriptor number that may be reused by now.
        self._read_fd = self._write_fd = self._woken_fd = -1
        close_all(self._open_fds)

    close_copy = close

    def _wait(self, poll, deadline):
        if self._woken_fd == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")
