"""Frames <-> bytes. No I/O: this module never touches a socket, so all of its rules can be tested without one.

Knows the header and the bounds. Never knows what a message means. Python 3.6 and up; runs on both sides.

A frame: the header (magic, version, kind, call id, head size, number of descriptors), the descriptors, the head, the
buffers. A descriptor is the size of a buffer. With its highest bit set it is a slot of shared memory that holds a
buffer or is returned (``arena.py``); or, without shared memory, it says how the image in the next buffer is encoded
(``image_codec.py``). The header is parsed, and every size is checked against the bound, before anything is allocated.

The decoder provides the memory to read into next. Bytes of a large array go straight into the array's own memory.
Everything else goes through one reused scratch buffer, so that mostly a single read gets a whole frame. Rejected: a
fixed read of the header, then of the rest, which takes two system calls per message.
"""

import bisect
import itertools
import struct

import numpy as np

from gym_service.protocol.values import LARGE_BYTES, flat_bytes

MAGIC = b"gS"
VERSION = 4
HEADER = struct.Struct("<2sBBIII")
HEADER_BYTES = HEADER.size
# The same bytes as four numbers, of which the first is the beginning: magic, version and kind.
HEADER_NUMBERS = struct.Struct("<IIII")
SCRATCH_BYTES = 65536
# From this value on a descriptor is not a size: it describes a slot or an image.
LENT = 1 << 63
# In addition to the layouts' needs: for infos, rendered frames, and results of calls.
BOUND_BYTES = 64 * 2**20
# A descriptor counts as so many bytes of the bound before it is read. So the bound also limits the table of
# descriptors, and numpy's overhead for each buffer. An encoded image has two, which count less than the smallest image.
DESCRIPTOR_BOUND_BYTES = 4096
# The most sizes of reads to keep before they are added up: a peer may send its bytes one by one.
MANY_READS = 256


def beginning_of(kind):
    """The first number of HEADER_NUMBERS in a frame of this kind."""
    return HEADER_NUMBERS.unpack(HEADER.pack(MAGIC, VERSION, kind, 0, 0, 0))[0]


class BadFrame(Exception):
    """The bytes are not a frame: the peer broke the rules, or is not a gym-service peer."""


class WrongVersion(BadFrame):
    """The peer uses another version of this protocol, ``theirs``."""

    def __init__(self, theirs):
        super().__init__("the other side speaks version %d of the wire, this side version %d" % (theirs, VERSION))
        self.theirs = theirs


class Frame:
    """One message: kind, call id, head (valid until the decoder's next read), buffers (in their own memory).

    ``offers``: shared memory into which the answer may be written.
    ``missing``: what remains to be read or done until the frame is complete; None if it is complete.
    ``arrays``: the receiver's converter for arrays of other libraries, as ``ValueDecoder`` takes it.
    """

    __slots__ = ("arrays", "buffers", "call_id", "head", "kind", "missing", "offers")

    def __init__(self, kind, call_id, head, buffers):
        self.kind = kind
        self.call_id = call_id
        self.head = head
        self.buffers = buffers
        self.offers = ()
        self.missing = self.arrays = None


class Missing:
    """What a frame still lacks once its head has arrived: its buffers, and the rest that its descriptors announce.

    ``descriptors``: one for each buffer. ``notices``: those that announce or return shared memory, for the arena.
    ``size_bytes``: the total size of the buffers that are read from the stream.
    """

    __slots__ = ("_ends", "_views", "descriptors", "is_verified", "notices", "size_bytes")

    def __init__(self, descriptors, notices, size_bytes):
        self.descriptors = descriptors
        self.notices = notices
        self.is_verified = False
        self.size_bytes = size_bytes

    def next_buffer(self, read_bytes):
        """The memory for the bytes that come after ``read_bytes`` bytes."""
        index = bisect.bisect_right(self._ends, read_bytes)
        view = self._views[index]
        return view[len(view) - (self._ends[index] - read_bytes) :]

    def copy_from(self, buffers, data):
        """Fill the buffers with bytes that were read already. Returns their number."""
        self._views = [memoryview(buffer) for buffer in buffers if type(buffer) is np.ndarray]
        self._ends = list(itertools.accumulate(map(len, self._views)))
        copied_bytes = 0
        while copied_bytes < min(len(data), self.size_bytes):
            target = self.next_buffer(copied_bytes)
            size_bytes = min(len(target), len(data) - copied_bytes)
            target[:size_bytes] = data[copied_bytes : copied_bytes + size_bytes]
            copied_bytes += size_bytes
        return copied_bytes


def frame_bytes(kind, call_id, head, buffers=()):
    """One frame as a list of pieces for one gathered write.

    A buffer is an array, which is copied only if it is not in C order, or a descriptor of an arena.
    """
    header = HEADER.pack(MAGIC, VERSION, kind, call_id, len(head), len(buffers))
    if not buffers:
        return [header + head]
    flat = [flat_bytes(buffer) for buffer in buffers if type(buffer) is not int]
    sizes = iter(flat)
    descriptors = [buffer if type(buffer) is int else len(next(sizes)) for buffer in buffers]
    return [b"".join((header, struct.pack("<%dQ" % len(descriptors), *descriptors), head)), *flat]


def frame_of_notices(kind, call_id, head, descriptors):
    """As ``frame_bytes``, for a frame whose descriptors are all notices: one piece of bytes."""
    count = len(descriptors)
    header = HEADER.pack(MAGIC, VERSION, kind, call_id, len(head), count)
    return b"".join((header, struct.pack("<%dQ" % count, *descriptors), head))


class FrameDecoder:
    """Turns received bytes into frames.

    Read into the memory that ``next_read()`` returns, append the number of bytes to the list that it returns, then call
    ``next_frame()``, which returns a frame or None. It returns the same frame until ``take()`` is called. One read may
    contain several frames: call ``next_frame()`` before reading again. After an error the decoder must not be used.

    A signal handler's exception may end any of these methods at any line. Nothing is lost: each method works on
    ``state``, one assignment replaces all of it, and everything before that assignment can be repeated. So does
    ``transport/leased_frames.py`` from outside.
    ``transport/streams.py`` explains how the size of a read gets into the list in any case.
    """

    def __init__(self, bound_bytes=BOUND_BYTES):
        self.bound_bytes = bound_bytes  # for head and buffers together; may be raised between frames
        self.arena = None  # the arena that leases and returns slots, if there is shared memory
        self.image_codec = None  # the decoder of encoded buffers, if there can be any
        # The scratch buffer that is used again and again; a head that is too large for it gets another for some time.
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        # The present scratch buffer; start and end of the bytes in it that belong to no frame yet; the sizes of the
        # reads since then; the frame that was begun and is not taken yet.
        self.state = (self.scratch, 0, 0, [], None)

    @property
    def at_boundary(self):
        """Whether the stream may end here, that is, between two frames."""
        _, start, end, sizes, frame = self.state
        return start == end + sum(sizes) if frame is None else frame.missing is None and start == end

    def mark(self):
        """The read position, for ``moved_since``."""
        return self.state, len(self.state[3])

    def moved_since(self, mark):
        """Whether anything was read since then."""
        state, reads = mark
        return state is not self.state or reads != len(state[3])

    def next_buffer(self):
        """The memory for the next bytes; never empty."""
        return self.next_read()[0]

    def received(self, size_bytes):
        """Record that ``size_bytes`` more have arrived. Returns the complete frame, taken, or None. Raises BadFrame."""
        if size_bytes:
            self.state[3].append(size_bytes)
        frame = self.next_frame()
        if frame is not None:
            self.take()
        return frame

    def next_read(self):
        """The memory for the next bytes, never empty, and the list to which their number must be appended."""
        scratch, _, end, sizes, frame = self.state
        if frame is not None and frame.missing is not None:
            return frame.missing.next_buffer(sum(sizes)), sizes
        return scratch[end + sum(sizes) :], sizes

    def next_frame(self):
        """The frame that is complete and not taken. None: read more. Raises BadFrame if the bytes are not a frame."""
        scratch, start, end, sizes, frame = self.state
        if frame is not None:
            return frame if frame.missing is None else self._complete()
        have = end + sum(sizes) - start
        if have < HEADER_BYTES:
            if not have:
                return None
            self._check_beginning(scratch[start : start + have])
            return self._make_space(HEADER_BYTES)
        magic, version, kind, call_id, head_bytes, count = HEADER.unpack_from(scratch, start)
        if magic != MAGIC or version != VERSION or head_bytes + count * DESCRIPTOR_BOUND_BYTES > self.bound_bytes:
            self._refuse(magic, version, head_bytes, count)
        head_at = HEADER_BYTES + 8 * count
        if have < head_at:
            return self._make_space(head_at)
        missing = self._missing(scratch, start, head_bytes, count) if count else None
        size_bytes = head_at + head_bytes
        if have < size_bytes:
            return self._make_space(size_bytes)
        frame = Frame(kind, call_id, scratch[start + head_at : start + size_bytes], [])
        frame.missing = missing
        self.state = (scratch, start + size_bytes, start + have, [], frame)
        return frame if missing is None else self._complete()

    def take(self):
        """Allow ``next_frame`` to go on to the next frame: this one is processed."""
        scratch, start, end, _, _ = self.state
        if start == end:  # start again at the beginning
            scratch, start, end = self.scratch, 0, 0
        self.state = (scratch, start, end, [], None)

    def _missing(self, scratch, start, head_bytes, count):
        """What the descriptors of the frame announce, after a check against the bound."""
        descriptors, notices = struct.unpack_from("<%dQ" % count, scratch, start + HEADER_BYTES), ()
        if self.image_codec is not None:
            descriptors, decoded_bytes = self.image_codec.parse_descriptors(descriptors)
            self._check_size(head_bytes + decoded_bytes)
        elif min(descriptors) < LARGE_BYTES:
            raise BadFrame(
                "a buffer of %d bytes; smaller ones than %d lie in the head" % (min(descriptors), LARGE_BYTES)
            )
        elif self.arena is not None:
            descriptors, notices = self.arena.split(descriptors)
        read = descriptors if self.arena is None else [size_bytes for size_bytes in descriptors if size_bytes < LENT]
        size_bytes = sum(read)
        # Without shared memory, a descriptor for a slot counts as a size beyond any bound.
        if head_bytes + size_bytes > self.bound_bytes:
            self._check_size(head_bytes + size_bytes)
        return Missing(descriptors, notices, size_bytes)

    def _check_beginning(self, begun):
        """Refuse at its first bytes what cannot become a frame: another program may send no more than those."""
        magic = bytes(begun[: len(MAGIC)])
        if not MAGIC.startswith(magic):
            raise BadFrame("bytes that start with %r are not a frame" % magic)
        if len(begun) > len(MAGIC) and begun[len(MAGIC)] != VERSION:
            raise WrongVersion(begun[len(MAGIC)])

    def _refuse(self, magic, version, head_bytes, count):
        if magic != MAGIC:
            raise BadFrame("bytes that start with %r are not a frame" % magic)
        if version != VERSION:
            raise WrongVersion(version)
        self._check_size(head_bytes + count * DESCRIPTOR_BOUND_BYTES)

    def _check_size(self, size_bytes):
        if size_bytes > self.bound_bytes:
            raise BadFrame("%d bytes announced, the bound is %d" % (size_bytes, self.bound_bytes))

    def _make_space(self, size_bytes):
        """Provide scratch memory for the next ``size_bytes`` from the start of the unused bytes. None: read more.

        A large run gets its memory while its bytes arrive, twice as much each time: a forged header costs little.
        """
        scratch, start, end, sizes, _ = self.state
        end += sum(sizes)
        have = end - start
        if size_bytes > SCRATCH_BYTES:
            is_short = end == len(scratch)
            size_bytes = min(size_bytes, max(2 * have, SCRATCH_BYTES))
        else:
            is_short = len(scratch) - start < size_bytes
        if is_short:
            unused = scratch[start:end]
            # New memory even if the old is large enough: the last frame's head may still be in use.
            scratch = memoryview(bytearray(max(size_bytes, SCRATCH_BYTES)))
            scratch[:have] = unused
            start, end = 0, have
        self.state = (scratch, start, end, [], None)

    def _complete(self):
        """The frame whose head has arrived, if its rest has arrived too; else None."""
        scratch, start, end, sizes, frame = self.state
        missing = frame.missing
        if not sizes:  # nothing was read for it yet: give each buffer its memory
            arena, buffers = self.arena, frame.buffers
            for descriptor in missing.descriptors[len(buffers) :]:
                buffers.append(np.empty(descriptor, np.uint8) if descriptor < LENT else arena.lease(descriptor))
            if arena is not None:
                arena.receive(frame, missing)
            sizes = [missing.copy_from(buffers, scratch[start:end])] if missing.size_bytes else [0]
            self.state = (scratch, start + sizes[0], end, sizes, frame)
        elif len(sizes) > MANY_READS:
            sizes = [sum(sizes)]
            self.state = (scratch, start, end, sizes, frame)
        if sum(sizes) < missing.size_bytes:
            return None
        if self.image_codec is not None:
            self.image_codec.decode_buffers(frame)
        frame.missing = None
        return frame
