"""A channel: frames over a byte stream, with deadlines.

Knows frames, and that large arrays may lie in an arena. Never knows what a frame means, nor what kind of stream it has
(``streams.py``). Python 3.6 and up; runs on both sides.

A deadline is a point on ``time.monotonic()``, or None for none.
"""

from gym_service.protocol.frames import FrameDecoder, frame_bytes
from gym_service.transport.streams import ChannelClosed, PipeStream, SocketStream, remaining_s

# POSIX promises at least 16 pieces in one gathered write; Linux and macOS take 1,024.
MAX_PIECES = 1024
SKIPPED_BYTES = 32768


class Channel:
    """Frames over a byte stream. Not thread-safe: its owner makes one call at a time."""

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
                remaining_s(deadline)  # who goes on and on saying something else is not waited for in reading
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

    def close_copy(self):
        """Close this process's copy of the stream and no other: for a forked child, whose parent goes on with it."""
        self._stream.close_copy()
        if self.arena is not None:
            self.arena.close()


def over_socket(sock, arena=None, yields_cpu=False):
    """A Channel over a connected stream socket, which it owns from here on, as it does the arena.

    ``yields_cpu``: of the two sides one says so; ``adaptive_spin.py`` has the reason.
    """
    return Channel(SocketStream(sock, yields_cpu), arena)


def over_pipes(read_fd, write_fd, arena=None, yields_cpu=False):
    """A Channel over two pipe ends (or any two descriptors), which it owns from here on, as it does the arena.

    Deadlines hold for writing only where the descriptor does not block. That is the caller's to set, and only on
    descriptors that are its own: the mode is shared with every process that inherited them.
    """
    return Channel(PipeStream(read_fd, write_fd, yields_cpu), arena)
