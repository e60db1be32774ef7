"""A channel: frames over a byte stream, with deadlines.

Knows frames, and that large arrays may be in an arena. Never knows what a frame means, or what kind of stream it uses
(``streams.py``). Python 3.6 and up; runs on both sides.

A deadline is a time on ``time.monotonic()``, or None for no deadline.

Interrupts. A signal handler's exception may end any method here at any line. Then the channel still knows what it has
to send and what it has received, and the next call goes on from there:

1. One assignment, to ``outgoing``, commits the channel to send a frame. Before it, nothing is sent, and nothing that
   the arena or the codec stores has changed. After it, ``flush`` sends the rest and can be repeated.
2. Received bytes stay with the decoder until ``take``, also a whole frame that no caller has received yet.
3. ``is_in_step`` says whether this was possible. It is not if TLS was interrupted, or if the rest of a frame is in
   memory that its owner may have changed since (``keep_unsent`` copies that memory).
"""

from gym_service.protocol.frames import FrameDecoder, frame_bytes, frame_of_notices
from gym_service.transport.sigpipe import NO_SIGNALS
from gym_service.transport.streams import ChannelClosed, PipeStream, SocketStream

# POSIX promises at least 16 pieces in one gathered write; Linux and macOS take 1,024.
MAX_PIECES = 1024


class Channel:
    """Frames over a byte stream. Not thread-safe: its owner must let only one thread use it at a time."""

    def __init__(self, stream, arena=None):
        self._stream = stream
        self.image_codec = None
        self.decoder = FrameDecoder()
        # For the last frame, or the one that is being sent: its call id; its pieces; how many bytes each write has
        # taken; the notes to settle for it, or None.
        self.outgoing = (0, [], [], None)
        self.share(arena)

    def share(self, arena):
        """Put large arrays into this arena from now on, and own it; None: into no arena."""
        self.arena = self.decoder.arena = arena

    def use_image_codec(self, image_codec):
        """Encode and decode images with one end of ``image_codec.py`` from now on. Not together with an arena."""
        self.image_codec = self.decoder.image_codec = image_codec

    def send_frame(self, kind, call_id, head, buffers=(), deadline=None, offers=()):
        """Write one frame, with large arrays through shared memory if there is any, else encoded if that was agreed.

        Blocks as ``send``, and for the encoding.

        ``offers`` are descriptors of the arena, for the answer.
        """
        arena, notes = self.arena, None
        if arena is not None:
            if buffers or offers or arena.is_due(call_id):
                buffers, notes = arena.compose(buffers, offers, call_id)
        elif self.image_codec is not None:
            buffers, notes = self.image_codec.compose(buffers)
        pieces = frame_bytes(kind, call_id, head, buffers)
        if notes is None and len(pieces) == 1:
            self.send_piece(call_id, pieces[0], deadline)
            return
        self.outgoing = (call_id, pieces, [], notes)
        self.flush(deadline)

    def send_piece(self, call_id, piece, deadline=None, notes=None):
        """Write a frame that is one piece of ``bytes``, with its notes. Blocks and raises as ``send``."""
        if not self.begin(call_id, piece, notes):
            self.flush(deadline)

    def has_notices(self, call_id):
        """Whether a frame with this id must carry something besides its head; then ``begin`` cannot send it."""
        return self.image_codec is not None or (self.arena is not None and self.arena.is_due(call_id))

    def begin(self, call_id, piece, notes=None):
        """Begin to send a frame that is one piece of ``bytes``. Returns whether the kernel has taken all of it.

        ``notes`` are those of a frame that names slots. Does not block. ``flush`` sends the rest, and raises what is
        wrong with the stream.
        """
        pieces, sizes = [piece], []
        self.outgoing = (call_id, pieces, sizes, notes)
        if notes is not None:
            notes.settle()
        send_one = self._stream.send_one
        if send_one is not None:
            try:
                sizes += map(send_one, pieces, NO_SIGNALS)
            except OSError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # raised by a signal handler: see streams.py
        return sizes == [len(piece)]

    def send_head(self, kind, call_id, head, deadline=None):
        """As ``send_frame``, for a frame without buffers. It carries the notices of the arena, which there must be."""
        descriptors, notes = self.arena.compose((), (), call_id)
        self.send_piece(call_id, frame_of_notices(kind, call_id, head, descriptors), deadline, notes)

    def send(self, pieces, deadline=None):
        """Write the pieces of a frame, or the bytes before the frames. Blocks until the kernel has taken all of it."""
        self.outgoing = (self.outgoing[0], pieces, [], None)
        self.flush(deadline)

    def flush(self, deadline=None):
        """Write the rest of a frame that is being sent, if there is one. Blocks and raises as ``send``."""
        _, pieces, sizes, notes = self.outgoing
        if notes is not None and not notes.is_settled:
            notes.settle()
        rest = _rest(pieces, sum(sizes))
        while rest:
            self._stream.write(rest[:MAX_PIECES], sizes, deadline)
            rest = _rest(pieces, sum(sizes))

    def keep_unsent(self):
        """Copy unsent bytes out of memory that the channel does not own, since it may change from now on."""
        _, pieces, sizes, _ = self.outgoing
        if sum(map(len, pieces)) != sum(sizes):
            pieces[:] = [piece if type(piece) is bytes else bytes(piece) for piece in pieces]

    @property
    def is_in_step(self):
        """Whether it can go on after an interrupt: see the module's docstring."""
        _, pieces, sizes, _ = self.outgoing
        is_sent = sum(map(len, pieces)) == sum(sizes)
        return not self._stream.in_doubt and (is_sent or all(type(piece) is bytes for piece in pieces))

    @property
    def is_in_a_frame(self):
        """Whether a frame is partly sent or partly read."""
        _, pieces, sizes, _ = self.outgoing
        return sum(map(len, pieces)) != sum(sizes) or not self.decoder.at_boundary

    def mark(self):
        """How much has been sent and read, for ``moved_since``."""
        sizes = self.outgoing[2]
        return sizes, len(sizes), self.decoder.mark()

    def moved_since(self, mark):
        """Whether any byte was sent or read since then."""
        sizes, writes, read = mark
        return sizes is not self.outgoing[2] or writes != len(sizes) or self.decoder.moved_since(read)

    def read_some(self, deadline=None):
        """Wait for bytes. Returns the list of the sizes of reads if they are the first ones of a frame, else None.

        The bytes are at the beginning of ``decoder.scratch``. To take them as a whole frame, clear the list; else
        ``await_frame`` goes on with them. Blocks and raises as ``await_frame``, but the end of the stream is a size 0.
        """
        scratch, _, end, sizes, frame = self.decoder.state
        if end or sizes or frame is not None or scratch is not self.decoder.scratch:
            return None
        self._stream.read_into(scratch, sizes, deadline)
        return sizes

    def poll_some(self):
        """As ``read_some``, but does not block: the list is empty if nothing has arrived."""
        scratch, _, end, sizes, frame = self.decoder.state
        if end or sizes or frame is not None or scratch is not self.decoder.scratch:
            return None
        self._stream.try_read(scratch, sizes)
        return sizes

    def take_some(self):
        """Take the bytes that ``read_some`` or ``poll_some`` has read, which were a whole frame."""
        self.decoder.state[3].clear()

    def receive(self, deadline=None):
        """The next frame. Blocks until it is complete. Raises ChannelClosed, ChannelTimeout or BadFrame."""
        frame = self.await_frame(deadline)
        self.decoder.take()
        return frame

    def await_frame(self, deadline=None):
        """As ``receive``, but the frame stays the next one until ``decoder.take()``."""
        decoder = self.decoder
        buffer, start, end, sizes, frame = decoder.state
        if start != end or sizes or frame is not None:  # usually there is nothing yet
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
        """As ``await_frame``, but returns None if the frame is not complete yet. Does not block."""
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
        """Let a poll object report the data that comes after ``poll_frame`` found none. Returns the descriptors."""
        return self._stream.register(poll)

    def end_sending(self):
        """Signal the end of the stream to the peer; its data can still be read."""
        self._stream.end_sending()

    def close(self):
        """End both directions, also for copies of the stream in other processes. May be called repeatedly."""
        self._stream.close()
        if self.arena is not None:
            self.arena.close()

    def close_copy(self):
        """Close only this process's copy of the stream: for a forked child, whose parent goes on using it."""
        self._stream.close_copy()
        if self.arena is not None:
            self.arena.close()


def _rest(pieces, sent_bytes):
    """The part of the pieces after ``sent_bytes`` bytes, as views; empty if there is none."""
    rest = []
    for piece in pieces:
        if sent_bytes < len(piece):
            rest.append(memoryview(piece)[sent_bytes:])
        sent_bytes = max(0, sent_bytes - len(piece))
    return rest


def over_socket(sock, arena=None, yields_cpu=False):
    """A Channel over a connected stream socket. It owns the socket and the arena from here on.

    ``yields_cpu``: true on one of the two sides; ``adaptive_spin.py`` explains why.
    """
    return Channel(SocketStream(sock, yields_cpu), arena)


def over_pipes(read_fd, write_fd, arena=None, yields_cpu=False):
    """A Channel over two pipe ends (or any two descriptors). It owns them and the arena from here on.

    Deadlines apply to writing only if the descriptor is non-blocking. The caller sets that mode, and only on its own
    descriptors: every process that inherited a descriptor shares its mode.
    """
    return Channel(PipeStream(read_fd, write_fd, yields_cpu), arena)
