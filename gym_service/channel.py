"""Bytes both ways: the only module that reads and writes.

Knows sockets, pipes, deadlines and the end of a stream. Never knows what the bytes mean. Python 3.6 and up; runs on
both sides. POSIX only: gym-service refuses Windows with a sentence of its own.

A deadline is a point on ``time.monotonic()``, or None for none. It holds for sending too: a peer that has stopped
reading must not hold a call for ever. Rejected: SO_RCVTIMEO, which a signal's handler restarts for ever.
"""

import os
import select
import socket
import time

from gym_service.wire import Decoder

# POSIX promises at least 16 pieces in one gathered write; Linux and macOS take 1,024.
MAX_PIECES = 1024
SKIPPED_BYTES = 32768
# The kernel counts a wait in milliseconds, in 31 bits: 24 days. A longer timeout ends as if it were this long.
LONGEST_WAIT_S = 2e6
# Waking a process that sleeps costs 12 to 30 us, several times the rest of a light step. So a reader looks at its
# stream for this long before it sleeps on it.
LOOK_S = 40e-6
# But only while that pays: on a busy machine it takes the processor from the very process that is waited for. A look
# that was in vain costs four that were not; without credit the next so many waits begin with sleep.
MOST_CREDIT, LOSS, RESTING_WAITS = 16, 4, 256


class ChannelClosed(Exception):
    """The other side is gone: the stream ended, or writing to it failed. ``clean``: it ended between frames."""

    def __init__(self, text, clean):
        super().__init__(text)
        self.clean = clean


class ChannelTimeout(Exception):
    """The deadline passed first. What was half sent or half read makes the channel useless from here on."""


class Channel:
    """Frames over a byte stream. Not thread-safe: whoever owns it takes turns."""

    def __init__(self, stream):
        self._stream = stream
        self.decoder = Decoder()

    def send(self, pieces, deadline=None):
        """Write a frame's buffers. Blocks until the kernel has taken all of it."""
        pieces = [memoryview(piece) for piece in pieces if len(piece)]
        while pieces:
            sent = self._stream.write(pieces[:MAX_PIECES], deadline)
            while pieces and sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if sent:
                pieces[0] = pieces[0][sent:]

    def receive(self, deadline=None):
        """The next frame. Blocks until it is whole. Raises ChannelClosed, ChannelTimeout, or wire.BadFrame."""
        decoder = self.decoder
        frame = decoder.filled(0)
        while frame is None:
            size = self._stream.read_into(decoder.buffer(), deadline)
            if size == 0:
                raise ChannelClosed("the stream ended", decoder.idle)
            frame = decoder.filled(size)
        return frame

    def skip_to(self, mark, deadline=None):
        """Read past whatever comes before ``mark``: banners, shell noise. Returns what was skipped, bounded."""
        skipped = bytearray()
        byte = memoryview(bytearray(1))  # one at a time: what follows the mark belongs to the decoder
        while not skipped.endswith(mark):
            if self._stream.read_into(byte, deadline) == 0:
                raise ChannelClosed("the stream ended before the server began", True)
            skipped += byte
            if len(skipped) > 2 * SKIPPED_BYTES:
                del skipped[:SKIPPED_BYTES]
        return bytes(skipped[: -len(mark)])

    def close(self):
        """End both directions, also for copies of the stream that other processes may hold. Any number of times."""
        self._stream.close()

    def let_go(self):
        """Close this process's copy of the stream and no other: for a forked child, whose parent goes on with it."""
        self._stream.let_go()


def over_socket(sock):
    """A Channel over a connected stream socket, which it owns from here on."""
    return Channel(_SocketStream(sock))


def over_pipes(read_fd, write_fd):
    """A Channel over two pipe ends (or any two descriptors), which it owns from here on.

    Deadlines hold for writing only where the descriptor does not block. That is the caller's to set, and only on
    descriptors that are its own: the mode is shared with every process that inherited them.
    """
    return Channel(_PipeStream(read_fd, write_fd))


def _remaining_s(deadline):
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ChannelTimeout("the deadline passed")
    return min(remaining, LONGEST_WAIT_S)


class _Patience:
    """Whether looking for a moment before sleeping has paid of late."""

    def __init__(self):
        self._credit = MOST_CREDIT
        self._resting = 0

    def look(self, attempt):
        """What ``attempt`` gives within LOOK_S; None if that is nothing, or if looking has not paid."""
        if not self._credit:
            self._resting -= 1
            self._credit = self._resting <= 0
            return None
        until = time.perf_counter() + LOOK_S
        while time.perf_counter() < until:
            size = attempt()
            if size is not None:
                self._credit = min(self._credit + 1, MOST_CREDIT)
                return size
        self._credit = max(self._credit - LOSS, 0)
        self._resting = RESTING_WAITS
        return None


class _SocketStream:
    """A socket that never blocks by itself: waiting is done here, with patience and then with poll()."""

    def __init__(self, sock):
        self._socket = sock
        self._receive = sock.recv_into
        self._patience = _Patience()
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)
        sock.setblocking(False)

    def read_into(self, buffer, deadline):
        try:
            size = self._patience.look(lambda: self._attempt(buffer))
            while size is None:
                size = self._attempt(buffer)
                if size is None:
                    self._wait(self._readable, deadline)
            return size
        except OSError as error:
            raise ChannelClosed("reading failed: %s" % error, False) from error

    def write(self, pieces, deadline):
        while True:
            try:
                return self._socket.sendmsg(pieces)
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
        if not poll.poll(None if deadline is None else _remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first, or it is closed already
        self._socket.close()

    def let_go(self):
        self._socket.close()


class _PipeStream:
    def __init__(self, read_fd, write_fd):
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

    def read_into(self, buffer, deadline):
        while True:
            self._wait(self._readable, deadline)
            try:
                return os.readv(self._read_fd, [buffer])
            except BlockingIOError:
                pass  # another process took it: the descriptor was inherited
            except OSError as error:
                raise ChannelClosed("reading failed: %s" % error, False) from error

    def write(self, pieces, deadline):
        while True:
            try:
                return os.writev(self._write_fd, pieces)
            except BlockingIOError:
                self._wait(self._writable, deadline)
            except OSError as error:
                raise ChannelClosed("writing failed: %s" % error, False) from error

    def close(self):
        fds = {self._read_fd, self._write_fd, self._wake_fd, self._woken_fd} - {-1}
        # First the names: a thread that is woken finds no descriptor, least of all one that is somebody else's by now.
        self._read_fd = self._write_fd = self._wake_fd = self._woken_fd = -1
        for fd in fds:
            os.close(fd)

    let_go = close

    def _wait(self, poll, deadline):
        if self._woken_fd == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else _remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")
