"""A channel: frames over a byte stream, with deadlines.

Knows frames, and that large arrays may lie in an arena. Never knows what a frame means, nor what kind of stream it has
(``streams.py``). Python 3.6 and up; runs on both sides.

A deadline is a point on ``time.monotonic()``, or None for none.

Interrupts. An exception from elsewhere (the handler of a signal) may end any method here at any line. Then the channel
still knows what it owes and what it has, and the next call goes on from there:

1. One assignment, to ``outgoing``, makes a frame the channel's debt. Before it, nothing has been sent, and nothing that
   the arena or the codec keeps has changed. After it, ``flush`` sends what is left, any number of times.
2. What has been read stays with the decoder until ``take``, also a whole frame that nobody has got yet.
3. ``is_in_step`` says whether this was possible. It is not where TLS was interrupted, nor where the rest of a frame
   lies in memory that its owner may have changed since (``keep_unsent`` copies that).
"""

from gym_service.protocol.frames import FrameDecoder, frame_bytes
from gym_service.transport.streams import ChannelClosed, PipeStream, SocketStream

# POSIX promises at least 16 pieces in one gathered write; Linux and macOS take 1,024.
MAX_PIECES = 1024


class Channel:
    """Frames over a byte stream. Not thread-safe: its owner sees to it that one thread at a time uses it."""

    def __init__(self, stream, arena=None):
        self._stream = stream
        self.image_codec = None
        self.decoder = FrameDecoder()
        # Of the frame that was sent last, or is being sent: its call id; its pieces; how many bytes of them each write
        # has taken; what has to be noted about it, or None.
        self.outgoing = (0, [], [], None)
        self.share(arena)

    def share(self, arena):
        """Have large arrays lie in this arena from here on, which the channel owns; None: nowhere."""
        self.arena = self.decoder.arena = arena

    def use_image_codec(self, image_codec):
        """Pass what is sent and received through one end of ``image_codec.py`` from here on. Not beside an arena."""
        self.image_codec = self.decoder.image_codec = image_codec

    def send_frame(self, kind, call_id, head, buffers=(), deadline=None, offers=()):
        """Write one frame, its large arrays through shared memory where there is any, else coded where that was agreed.

        Blocks as ``send``, and for the coding.

        ``offers`` are descriptors of the arena's, for the answer.
        """
        arena, notes = self.arena, None
        if arena is not None:
            if buffers or offers or arena.is_due(call_id):
                buffers, notes = arena.compose(buffers, offers, call_id)
        elif self.image_codec is not None:
            buffers, notes = self.image_codec.compose(buffers)
        pieces, sizes = frame_bytes(kind, call_id, head, buffers), []
        self.outgoing = (call_id, pieces, sizes, notes)
        if notes is not None:
            notes.settle()
        if len(pieces) == 1:
            self._stream.write(pieces, sizes, deadline)
            if sizes[0] == len(pieces[0]):  # one small piece goes at once
                return
        self.flush(deadline)

    def send(self, pieces, deadline=None):
        """Write the pieces of a frame, or what comes before the frames. Blocks until the kernel has taken all of it."""
        self.outgoing = (self.outgoing[0], pieces, [], None)
        self.flush(deadline)

    def flush(self, deadline=None):
        """Write what is left of the frame that is being sent, if anything is. Blocks and raises as ``send``."""
        _, pieces, sizes, notes = self.outgoing
        if notes is not None and not notes.is_settled:
            notes.settle()
        rest = _rest(pieces, sum(sizes))
        while rest:
            self._stream.write(rest[:MAX_PIECES], sizes, deadline)
            rest = _rest(pieces, sum(sizes))

    def keep_unsent(self):
        """Copy what has not been sent out of memory that is not the channel's, and that may change from here on."""
        _, pieces, sizes, _ = self.outgoing
        if sum(map(len, pieces)) != sum(sizes):
            pieces[:] = [piece if type(piece) is bytes else bytes(piece) for piece in pieces]

    @property
    def is_in_step(self):
        """Whether it can go on where it was interrupted: see above."""
        _, pieces, sizes, _ = self.outgoing
        is_sent = sum(map(len, pieces)) == sum(sizes)
        return not self._stream.in_doubt and (is_sent or all(type(piece) is bytes for piece in pieces))

    @property
    def is_in_a_frame(self):
        """Whether a frame is half sent or half read."""
        _, pieces, sizes, _ = self.outgoing
        return sum(map(len, pieces)) != sum(sizes) or not self.decoder.at_boundary

    def mark(self):
        """How much has been sent and read, for ``moved_since``."""
        sizes = self.outgoing[2]
        return sizes, len(sizes), self.decoder.mark()

    def moved_since(self, mark):
        """Whether any byte has come or gone since then."""
        sizes, writes, read = mark
        return sizes is not self.outgoing[2] or writes != len(sizes) or self.decoder.moved_since(read)

    def receive(self, deadline=None):
        """The next frame. Blocks until it is complete. Raises ChannelClosed, ChannelTimeout, or wire.BadFrame."""
        frame = self.await_frame(deadline)
        self.decoder.take()
        return frame

    def await_frame(self, deadline=None):
        """As ``receive``, but the frame remains the next one until ``decoder.take()``."""
        decoder = self.decoder
        buffer, start, end, sizes, frame = decoder.state
        if start != end or sizes or frame is not None:  # else there is nothing yet: usually
            frame = decoder.next_frame()
            if frame is None:
                buffer, sizes = decoder.next_read()
        while frame is None:
            self._stream.read_into(buffer, sizes, deadline)
            if sizes[-1] == 0:
                raise ChannelClosed("the stream ended", decoder.at_boundary)
            frame = decoder.next_frame()
            if frame is None:
                buffer, sizes = decoder.next_read()
        return frame

    def poll_frame(self):
        """As ``await_frame``, but None where the frame is not complete yet. Does not block."""
        decoder = self.decoder
        frame = decoder.next_frame()
        while frame is None:
            buffer, sizes = decoder.next_read()
            before = len(sizes)
            self._stream.try_read(buffer, sizes)
            if len(sizes) == before:
                return None
            if sizes[-1] == 0:
                raise ChannelClosed("the stream ended", decoder.at_boundary)
            frame = decoder.next_frame()
        return frame

    def register(self, poll):
        """Have a poll object report what comes after ``poll_frame`` has found nothing; the descriptors."""
        return self._stream.register(poll)

    def end_sending(self):
        """Let the other side see the end of what is sent; what it sends can still be read."""
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


def _rest(pieces, sent_bytes):
    """What is left of the pieces after so many bytes, as views; empty if nothing is."""
    rest = []
    for piece in pieces:
        if sent_bytes < len(piece):
            rest.append(memoryview(piece)[sent_bytes:])
        sent_bytes = max(0, sent_bytes - len(piece))
    return rest


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
