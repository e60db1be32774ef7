"""Frames <-> bytes. No I/O: this module never touches a socket, so every rule of it is tested without one.

Knows the header and the bounds. Never knows what a message means. Python 3.6 and up; runs on both sides.

A frame: the header (magic, version, kind, call id, head size, number of descriptors), the descriptors, the head, the
buffers. A descriptor is the size of a buffer; or, with its highest bit set, a slot of shared memory where a buffer
lies, or one that is given back (``arena.py``); or, where no memory is shared, what became of the picture in the buffer
that follows (``image_codec.py``). The header is parsed, and every size checked against the bound, before anything is
allocated.

The decoder gives out the memory that is to be filled next. Bytes that belong to a large array go straight into the
array's own memory; everything else goes through one room that is used again and again, and that a single read
mostly fills with a whole frame. Rejected: a fixed read of the header, then of the rest: two system calls a message.
"""

import struct

import numpy as np

from gym_service.protocol.values import LARGE_BYTES, flat_bytes

MAGIC = b"gS"
VERSION = 2
HEADER = struct.Struct("<2sBBIII")
HEADER_BYTES = HEADER.size
SCRATCH_BYTES = 65536
# From here on a descriptor is no size but speaks of a slot, or of a picture.
LENT = 1 << 63
# Beside what the layouts need: infos, rendered frames, the results of calls.
BOUND_BYTES = 64 * 2**20


class BadFrame(Exception):
    """The bytes are not a frame: the other side broke the rules, or is not what it seems."""


class WrongVersion(BadFrame):
    """The other side speaks this protocol in another version, ``theirs``."""

    def __init__(self, theirs):
        super().__init__("the other side speaks version %d of the wire, this side version %d" % (theirs, VERSION))
        self.theirs = theirs


class Frame:
    """One message: kind, call id, head (valid until the decoder's next buffer), buffers (memory of their own).

    ``offers``: shared memory into which the answer may be written.
    """

    __slots__ = ("buffers", "call_id", "head", "kind", "offers")

    def __init__(self, kind, call_id, head, buffers):
        self.kind = kind
        self.call_id = call_id
        self.head = head
        self.buffers = buffers
        self.offers = ()


def frame_bytes(kind, call_id, head, buffers=()):
    """One frame as a list of pieces for one gathered write.

    A buffer is an array, which is not copied unless it lies in another than C order, or a descriptor of an arena.
    """
    header = HEADER.pack(MAGIC, VERSION, kind, call_id, len(head), len(buffers))
    if not buffers:
        return [header + head]
    flat = [flat_bytes(buffer) for buffer in buffers if type(buffer) is not int]
    sizes = iter(flat)
    descriptors = [buffer if type(buffer) is int else len(next(sizes)) for buffer in buffers]
    return [b"".join((header, struct.pack("<%dQ" % len(descriptors), *descriptors), head)), *flat]


class FrameDecoder:
    """Turns bytes as they come into frames.

    Read into ``next_buffer()``, then call ``received(n)``, which returns a frame or None. One read may hold several
    frames: ask ``received(0)`` before reading again. After an error the decoder is of no more use.
    """

    def __init__(self, bound_bytes=BOUND_BYTES):
        self.bound_bytes = bound_bytes  # of head and buffers together; may be raised between frames
        self.arena = None  # where slots are leased and given back, if there is shared memory
        self.image_codec = None  # what restores the buffers that were coded, if there may be any
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._start = 0  # of what has been read and not yet used
        self._end = 0
        self._frame = None  # whose buffers are being filled
        self._empty = []  # what is left to fill of them, as views, the next one last

    @property
    def is_ahead(self):
        """Whether bytes have been read that no frame has used yet: the next frame may be among them."""
        return self._start != self._end

    @property
    def at_boundary(self):
        """Whether the stream may end here: not in the middle of a frame."""
        return self._frame is None and self._start == self._end

    def next_buffer(self):
        """The memory that the next bytes belong in; never empty."""
        if self._empty:
            return self._empty[-1]
        if self._start == self._end:
            self._start = self._end = 0
        return self._scratch[self._end :]

    def received(self, size_bytes):
        """Take note that ``size_bytes`` more are there. Raises BadFrame where they cannot be a frame."""
        if self._frame is None:
            self._end += size_bytes
            self._frame = self._begin_frame()
        elif size_bytes:
            self._fill_last(size_bytes)
        return self._end_frame()

    def _begin_frame(self):
        """The frame, once its header, its descriptors and its head are all there; else None, and room for the rest."""
        start, have = self._start, self._end - self._start
        if have < HEADER_BYTES:
            self._check_beginning(have)
            return self._make_space(HEADER_BYTES)
        magic, version, kind, call_id, head_bytes, count = HEADER.unpack_from(self._scratch, start)
        if magic != MAGIC or version != VERSION or head_bytes + count * LARGE_BYTES > self.bound_bytes:
            self._refuse(magic, version, head_bytes, count)
        head_at = HEADER_BYTES + 8 * count
        if have < head_at:
            return self._make_space(head_at)
        descriptors = self._descriptors(head_bytes, count) if count else ()
        end = head_at + head_bytes
        if have < end:
            return self._make_space(end)
        self._start = start + end
        frame = Frame(kind, call_id, self._scratch[start + head_at : start + end], [])
        if descriptors:
            self._allocate(frame, descriptors)
        return frame

    def _descriptors(self, head_bytes, count):
        """The descriptors of the frame that begins, once they are within the bound."""
        descriptors = struct.unpack_from("<%dQ" % count, self._scratch, self._start + HEADER_BYTES)
        if self.image_codec is not None:
            sizes, size_bytes = self.image_codec.parse_descriptors(descriptors)
            self._check_size(head_bytes + size_bytes)
            return sizes
        if min(descriptors) < LARGE_BYTES:
            raise BadFrame(
                "a buffer of %d bytes; smaller ones than %d lie in the head" % (min(descriptors), LARGE_BYTES)
            )
        # Without shared memory a descriptor for a slot is a size beyond any bound.
        sizes = descriptors if self.arena is None else [descriptor for descriptor in descriptors if descriptor < LENT]
        self._check_size(head_bytes + sum(sizes))
        return descriptors

    def _check_beginning(self, have):
        """Refuse what cannot become a frame at its first bytes: another program may send no more than those."""
        begun = bytes(self._scratch[self._start : self._start + min(have, len(MAGIC))])
        if not MAGIC.startswith(begun):
            raise BadFrame("bytes that start with %r are not a frame" % begun)
        if have > len(MAGIC) and self._scratch[self._start + len(MAGIC)] != VERSION:
            raise WrongVersion(self._scratch[self._start + len(MAGIC)])

    def _refuse(self, magic, version, head_bytes, count):
        if magic != MAGIC:
            raise BadFrame("bytes that start with %r are not a frame" % magic)
        if version != VERSION:
            raise WrongVersion(version)
        # No buffer is small, so this bounds the table of sizes too, and what numpy keeps beside each buffer.
        self._check_size(head_bytes + count * LARGE_BYTES)

    def _check_size(self, size_bytes):
        if size_bytes > self.bound_bytes:
            raise BadFrame("%d bytes announced, the bound is %d" % (size_bytes, self.bound_bytes))

    def _make_space(self, size_bytes):
        """See to it that what comes next of ``size_bytes`` from the start of the unused bytes fits. None: wait.

        A large run gets its memory as its bytes come, twice as much each time: a header is quickly forged.
        """
        have = self._end - self._start
        if size_bytes > SCRATCH_BYTES:
            is_short = self._end == len(self._scratch)
            size_bytes = min(size_bytes, max(2 * have, SCRATCH_BYTES))
        else:
            is_short = len(self._scratch) - self._start < size_bytes
        if is_short:
            unused = bytes(self._scratch[self._start : self._end])
            # A new room also where the old one is large enough: the last frame's head may still be looked at. It
            # is back to its usual size with the next.
            self._scratch = memoryview(bytearray(max(size_bytes, SCRATCH_BYTES)))
            self._scratch[:have] = unused
            self._start, self._end = 0, have

    def _allocate(self, frame, descriptors):
        """Give each buffer its memory, and move there what the room already holds of it."""
        for descriptor in descriptors:
            if descriptor < LENT:
                buffer = np.empty(descriptor, np.uint8)
                frame.buffers.append(buffer)
                self._empty.append(memoryview(buffer))
            else:
                self.arena.receive(descriptor, frame)
        self._empty.reverse()
        while self._empty and self._start < self._end:
            size = min(len(self._empty[-1]), self._end - self._start)
            self._empty[-1][:size] = self._scratch[self._start : self._start + size]
            self._start += size
            self._fill_last(size)

    def _fill_last(self, size_bytes):
        rest = self._empty[-1][size_bytes:]
        if len(rest):
            self._empty[-1] = rest
        else:
            self._empty.pop()

    def _end_frame(self):
        if self._empty:
            return None
        frame, self._frame = self._frame, None
        if frame is not None and frame.buffers and self.image_codec is not None:
            self.image_codec.decode_buffers(frame)
        return frame
