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

from gym_service.protocol.frames import FrameDecoder, frame_bytes
from gym_service.transport.adaptive_spin import AdaptiveSpin

# POSIX promises at least 16 pieces in one gathered write; Linux and macOS take 1,024.
MAX_PIECES = 1024
SKIPPED_BYTES = 32768
# The kernel counts a wait in milliseconds, in 31 bits: 24 days. A longer timeout ends as if it were this long.
LONGEST_WAIT_S = 2e6


class ChannelClosed(Exception):
    """The other side is gone: the stream ended, or writing to it failed. ``clean``: it ended between frames."""

    def __init__(self, text, clean):
        super().__init__(text)
        self.clean = clean


class ChannelTimeout(Exception):
    """The deadline passed first. What was half sent or half read makes the channel useless from here on."""


class Channel:
    """Frames over a byte stream. Not thread-safe: whoever owns it takes turns."""

    def __init__(self, stream, arena=None):
        self._stream = stream
        self.image_codec = None
        self.decoder = FrameDecoder()
        self.share(arena)

    def share(self, arena):
        """Have large arrays lie in this arena from here on, which the channel owns; None for not."""
        self.arena = self.decoder.arena = arena

    def use_image_codec(self, image_codec):
        """Pass what is sent and received through one end of ``image_codec.py`` from here on. Not beside an arena."""
        self.image_codec = self.decoder.image_codec = image_codec

    def send_frame(self, kind, call_id, head, buffers=(), deadline=None, offers=()):
        """Write one frame, its large arrays through shared memory where there is any, else coded where that was agreed.

        Blocks as ``send``, and for the coding.

        ``offers`` are descriptors of the arena's, for the answer.
        """
        arena = self.arena
        if arena is not None and (buffers or offers or arena.has_returns):
            buffers = [*arena.descriptors(buffers), *offers]
        elif self.image_codec is not None:
            buffers = self.image_codec.descriptors(buffers)
        self.send(frame_bytes(kind, call_id, head, buffers), deadline)

    def send(self, pieces, deadline=None):
        """Write a frame's pieces. Blocks until the kernel has taken all of it."""
        sent = self._stream.write(pieces[:MAX_PIECES], deadline)
        if len(pieces) != 1 or sent < len(pieces[0]):  # one small piece goes at once
            self._send_rest([memoryview(piece) for piece in pieces if len(piece)], sent, deadline)

    def _send_rest(self, pieces, sent, deadline):
        while True:
            while pieces and sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if not pieces:
                return
            pieces[0] = pieces[0][sent:]
            sent = self._stream.write(pieces[:MAX_PIECES], deadline)

    def receive(self, deadline=None):
        """The next frame. Blocks until it is whole. Raises ChannelClosed, ChannelTimeout, or wire.BadFrame."""
        decoder = self.decoder
        frame = decoder.received(0) if decoder.is_ahead else None
        while frame is None:
            size = self._stream.read_into(decoder.next_buffer(), deadline)
            if size == 0:
                raise ChannelClosed("the stream ended", decoder.at_boundary)
            frame = decoder.received(size)
        return frame

    def skip_to(self, mark, deadline=None, skipped=None):
        """Read past whatever comes before ``mark``: banners, shell noise. Returns what was skipped, bounded.

        What was read so far is in ``skipped``, a bytearray, also where the mark never comes.
        """
        skipped = bytearray() if skipped is None else skipped
        byte = memoryview(bytearray(1))  # one at a time: what follows the mark belongs to the decoder
        while not skipped.endswith(mark):
            if self._stream.read_into(byte, deadline) == 0:
                raise ChannelClosed("the stream ended before the server began", True)
            skipped += byte
            if deadline is not None:
                _remaining_s(deadline)  # who goes on and on saying something else is not waited for in reading
            if len(skipped) > 2 * SKIPPED_BYTES:
                del skipped[:SKIPPED_BYTES]
        del skipped[-len(mark) :]
        return bytes(skipped)

    def end_sending(self):
        """Let the other side see the end of what is sent; its own words can still be read."""
        self._stream.end_sending()

    def close(self):
        """End both directions, also for copies of the stream that other processes may hold. Any number of times."""
        self._stream.close()
        if self.arena is not None:
            self.arena.close()

    def detach(self):
        """Close this process's copy of the stream and no other: for a forked child, whose parent goes on with it."""
        self._stream.detach()
        if self.arena is not None:
            self.arena.close()


def over_socket(sock, arena=None, yields_cpu=False):
    """A Channel over a connected stream socket, which it owns from here on, as it does the arena.

    ``yields_cpu``: of the two sides one says so; ``adaptive_spin.py`` has the reason.
    """
    return Channel(_SocketStream(sock, yields_cpu), arena)


def over_pipes(read_fd, write_fd, arena=None, yields_cpu=False):
    """A Channel over two pipe ends (or any two descriptors), which it owns from here on, as it does the arena.

    Deadlines hold for writing only where the descriptor does not block. That is the caller's to set, and only on
    descriptors that are its own: the mode is shared with every process that inherited them.
    """
    return Channel(_PipeStream(read_fd, write_fd, yields_cpu), arena)


def _remaining_s(deadline):
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ChannelTimeout("the deadline passed")
    return min(remaining, LONGEST_WAIT_S)


class _Stream:
    """Reads by looking for a moment, and then with poll()."""

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


class _SocketStream(_Stream):
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
        if not poll.poll(None if deadline is None else _remaining_s(deadline) * 1000):
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

    def detach(self):
        self._socket.close()


class _PipeStream(_Stream):
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

    detach = close

    def _wait(self, poll, deadline):
        if self._woken_fd == -1:
            raise ChannelClosed("it was closed here", False)
        if not poll.poll(None if deadline is None else _remaining_s(deadline) * 1000):
            raise ChannelTimeout("the deadline passed while waiting")
