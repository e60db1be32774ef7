"""Pictures on their way over a network: coded by the server, restored by the client.

Knows arrays that look like pictures, and the descriptors by which a frame says what became of them. Never knows an env,
a socket or how fast the network is. Python 3.6 and up; both sides load it. Where both sides share memory (``arena.py``)
nothing is coded: there is nothing that it would spare.

Before a picture's buffer stands a descriptor that is no size: LENT, the kind, how long coding took (us), the size of
what it is restored to. Thus everything is held against the bound before the first byte of a buffer is read.

DEFLATED. Both sides keep the last few pictures. Of those of its size the sender takes the one that a picture resembles
most, deflates the difference, and says which one it was and in whose place the new one is kept. So the receiver obeys
and decides nothing, and nothing needs to be known of cameras, resets or lists of rendered frames. Most cameras of
simulators stand still: there a difference deflates to a fraction of what the picture itself does, costs no more, and is
undone in one addition. Rejected: a difference between rows, which gains a little with some simulators, loses it with
others, and is undone row by row; deflating without a checksum, since a wrong bit would be a wrong picture.

Only answers to calls that show what the env shows are coded (``messages.SHOWING``); attributes, results of other calls
and whatever the client sends go as they are.
"""

import collections
import struct
import zlib
from time import perf_counter

import numpy as np

from gym_service.protocol.frames import LENT, BadFrame
from gym_service.protocol.values import LARGE_BYTES, BadValue, flat_bytes
from gym_service.transport import jpeg

RAW, ZLIB, AUTO = "raw", "zlib", "auto"
QUALITIES = frozenset(map(str, range(1, 101)))  # of a JPEG
# Smaller ones are sent while one thinks about it. At least two pages: each buffer pays for its two descriptors.
LEAST_BYTES = 2 * LARGE_BYTES
# Kept on either side, at most. A batch of 32 renders of 680 x 680 has 44 MB.
MAX_REFERENCES, MAX_REFERENCE_BYTES = 8, 64 * 2**20
# Of so many bytes of a picture, half must be those of a kept one, for a difference to be worth while; and three
# quarters for it to take that one's place. Another camera of the same size may share half of them.
SAMPLES, RESEMBLING, SAME = 1024, 0.5, 0.75
STORED, DEFLATED, JPEG = range(3)
_KIND_SHIFT, _TIME_SHIFT = 56, 32
_KIND_MASK, _TIME_MASK, _SIZE_MASK = 0x7F, 2**24 - 1, 2**32 - 1
# Of a DEFLATED buffer: the kept picture to which it is a difference, the place where it is to be kept; or NONE.
_PLACES = struct.Struct("<BB")
NONE = 255
LEVEL = 1


def shown(frames):
    """How a choice of ``frames`` is said to users: a lossy one is called that."""
    return "%s (lossy)" % frames if frames.startswith("jpeg") else frames


def encoder_for(frames):
    """The ImageEncoder of a choice; None for "raw".

    Raises:
        BadValue: there is no such choice.
        ImportError: Pillow is missing.
    """
    codec, colon, quality = frames.partition(":") if type(frames) is str else ("", "", "")
    if codec in (RAW, ZLIB, AUTO) and not colon:
        return None if codec == RAW else ImageEncoder(codec == AUTO, 0)
    if codec != "jpeg" or quality not in QUALITIES:
        raise BadValue("frames = %r is not one of raw, zlib, auto, jpeg:1 to jpeg:100" % (frames,))
    jpeg.require(frames)
    return ImageEncoder(False, int(quality))


def is_image(array):
    """Whether an array is coded without loss: bytes in two dimensions or more. Floats and state vectors are not."""
    return array.dtype == np.uint8 and array.ndim >= 2 and LEAST_BYTES <= array.nbytes <= _SIZE_MASK


class ReferenceImages:
    """The last few pictures, flat, by their places. Both sides hold the same ones, since frames come in order."""

    def __init__(self):
        self._images = {}
        self._order = []  # of places, the longest unused first
        self._bytes = 0

    def get(self, place, size_bytes):
        """The picture in a place. Raises BadValue where there is none of that size."""
        kept = self._images.get(place)
        if kept is None or kept.size != size_bytes:
            raise BadValue(
                "a difference to a picture of %d bytes in place %d, which is not there" % (size_bytes, place)
            )
        return kept

    def put(self, place, flat):
        """Keep a copy in a place. Raises BadValue beyond the limits."""
        old = self._images.get(place)
        size_bytes = self._bytes + flat.size - (0 if old is None else old.size)
        if place >= MAX_REFERENCES or size_bytes > MAX_REFERENCE_BYTES:
            raise BadValue("a picture of %d bytes to be kept in place %d" % (flat.size, place))
        if old is not None and old.size == flat.size:
            np.copyto(old, flat)
        else:
            self._images[place] = flat.copy()
            self._bytes = size_bytes
        self._order = [other for other in self._order if other != place] + [place]

    def nearest(self, flat):
        """The place of the picture of the same size that shares most with this one, and how much."""
        step = flat.size // SAMPLES | 1  # odd, so that every channel is looked at
        sample = flat[::step]
        place, most = NONE, 0
        for other, kept in self._images.items():
            if kept.size == flat.size:
                alike = np.count_nonzero(kept[::step] == sample)
                if alike > most:
                    place, most = other, alike
        return place, most / sample.size

    def room_for(self, size_bytes):
        """Where to keep one that is new; NONE where it would be too much. The longest unused one goes."""
        place = len(self._order) if len(self._order) < MAX_REFERENCES else self._order[0]
        old = self._images.get(place)
        is_too_much = self._bytes + size_bytes - (0 if old is None else old.size) > MAX_REFERENCE_BYTES
        if is_too_much and self._order:
            place = self._order[0]
            is_too_much = self._bytes + size_bytes - self._images[place].size > MAX_REFERENCE_BYTES
        return NONE if is_too_much else place


class ImageEncoder:
    """The server's end: codes the pictures of what it sends."""

    def __init__(self, is_auto, quality=0):
        self.is_on = False  # whether the answer under way may be coded: the server says so with each call
        self.use_codec = True  # of "auto": what the client has last wished
        self.is_lossy = quality > 0
        self._is_auto = is_auto
        self._quality = quality  # of JPEG; 0 for none
        self._references = ReferenceImages()

    def descriptors(self, buffers):
        """The buffers of a frame, with a descriptor before each picture, coded or not. Blocks for the coding."""
        if not self.is_on or not buffers:
            return buffers
        found = []
        for array in buffers:
            if is_image(array):
                found += self._coded(array)
            else:
                found.append(array)
        return found

    def parse_descriptors(self, descriptors):
        """Of a call: the sizes of its buffers, and their sum. A wish of the client's is heeded."""
        sizes = [descriptor for descriptor in descriptors if descriptor < LENT]
        for descriptor in descriptors:
            if descriptor >= LENT:
                if not self._is_auto or descriptor - LENT > 1:
                    raise BadFrame("a descriptor %#x, which means nothing here" % descriptor)
                self.use_codec = descriptor != LENT
        _refuse_small(sizes)
        return sizes, sum(sizes)

    def decode_buffers(self, frame):
        """Nothing: calls hold no coded buffers."""

    def _coded(self, array):
        if not self.use_codec:
            return _descriptor(STORED, 0.0, array.nbytes), array
        begun = perf_counter()
        if self.is_lossy and jpeg.takes(array):
            kind, data = JPEG, jpeg.encode(array, self._quality)
        else:
            kind, data = DEFLATED, self._deflated(flat_bytes(array))
        if data is None or len(data) >= array.nbytes:
            kind, coded = STORED, array
        else:
            coded = np.frombuffer(data, np.uint8)
        return _descriptor(kind, perf_counter() - begun, array.nbytes), coded

    def _deflated(self, flat):
        """The bytes of a DEFLATED buffer, None where they would be no fewer. Only then is the picture not kept."""
        kept = self._references
        nearest, alike = kept.nearest(flat)
        place = nearest if alike >= SAME else kept.room_for(flat.size)
        if alike < RESEMBLING:
            nearest = NONE
            data = zlib.compress(flat, LEVEL)
        else:
            data = zlib.compress(flat - kept.get(nearest, flat.size), LEVEL)
        if _PLACES.size + len(data) >= flat.size:
            return None
        if place != NONE:
            kept.put(place, flat)
        return _PLACES.pack(nearest, place) + data


# One coded buffer of an answer: its place among the buffers, the codec, how long the server took to code it, and the
# sizes of what it is restored to and of what travels.
PlannedImage = collections.namedtuple("PlannedImage", ["index", "kind", "coding_s", "size_bytes", "coded_bytes"])


class ImageDecoder:
    """The client's end: restores what the server has coded, and passes on what ``auto`` wishes.

    ``selector`` learns, from this connection and others, whether coding pays; None where that is settled.
    """

    def __init__(self, selector=None, measures=True):
        self._selector = selector
        self._measures = measures
        self._told = True  # what the server was last told to do
        self._plan = []  # the PlannedImages of the frame that is being received
        self._begun = 0.0
        self._references = ReferenceImages()

    def descriptors(self, buffers):
        """The buffers of a call, with a wish beside them where the server does not know it yet."""
        selector = self._selector
        if selector is None or selector.use_codec == self._told:
            return buffers
        self._told = selector.use_codec
        return [*buffers, LENT | self._told]

    def parse_descriptors(self, descriptors):
        """Of an answer: the sizes of its buffers as they come, and the sum of what they will be when restored."""
        self._begun = perf_counter()
        sizes, total, plan, descriptor_before = [], 0, [], 0
        for descriptor in descriptors:
            if descriptor >= LENT:
                if descriptor_before:
                    raise BadFrame("a descriptor %#x where the size of a buffer was due" % descriptor)
                descriptor_before = descriptor
                continue
            if descriptor_before:
                plan.append(_planned(len(sizes), descriptor_before, descriptor))
                total += plan[-1].size_bytes
            else:
                _refuse_small([descriptor])
                total += descriptor
            sizes.append(descriptor)
            descriptor_before = 0
        if descriptor_before:
            raise BadFrame("a descriptor %#x without its buffer" % descriptor_before)
        self._plan = plan
        return sizes, total

    def decode_buffers(self, frame):
        """Put in place of each coded buffer what it says. Raises BadValue where that is nothing."""
        plan = self._plan
        if not plan:
            return
        self._plan = []
        arrived = perf_counter()
        for image in plan:
            buffer = frame.buffers[image.index]
            if image.kind == DEFLATED:
                frame.buffers[image.index] = self._inflated(buffer, image.size_bytes)
            elif image.kind == JPEG:
                frame.buffers[image.index] = jpeg.decode(buffer, image.size_bytes)
        if self._selector is not None and self._measures:
            self._note(plan, arrived)

    def _note(self, plan, arrived):
        ended = perf_counter()
        coding_s = sum([image.coding_s for image in plan])
        restoring_s = ended - arrived if coding_s else 0.0
        raw_bytes, coded_bytes = sum([image.size_bytes for image in plan]), sum([image.coded_bytes for image in plan])
        self._selector.record_transfer(
            coding_s > 0, raw_bytes, coded_bytes, arrived - self._begun, coding_s + restoring_s, ended
        )

    def _inflated(self, buffer, size):
        data = memoryview(buffer)
        if len(data) < _PLACES.size:
            raise BadValue("a coded picture of %d bytes" % len(data))
        nearest, place = _PLACES.unpack_from(data)
        inflater = zlib.decompressobj()
        try:
            # Never more than one byte beyond what was announced and allowed, whatever the data would grow to.
            flat = np.frombuffer(inflater.decompress(data[_PLACES.size :], size + 1), np.uint8)
        except zlib.error as error:
            raise BadValue("a coded picture that is none: %s" % error) from error
        if flat.size != size or not inflater.eof or inflater.unused_data:
            raise BadValue("a coded picture is not the %d bytes that were announced" % size)
        restored = flat.copy() if nearest == NONE else flat + self._references.get(nearest, size)
        if place != NONE:
            self._references.put(place, restored)
        return restored


def _descriptor(kind, seconds, size_bytes):
    """``seconds`` of 0 say that coding was not tried; any other are a microsecond at least."""
    time_us = min(max(int(seconds * 1e6), 1), _TIME_MASK) if seconds else 0
    return LENT | kind << _KIND_SHIFT | time_us << _TIME_SHIFT | size_bytes


def _planned(index, descriptor, coded_bytes):
    """The PlannedImage of a buffer and the descriptor before it. Raises BadFrame where they contradict each other."""
    kind, size = descriptor >> _KIND_SHIFT & _KIND_MASK, descriptor & _SIZE_MASK
    fits = coded_bytes == size if kind == STORED else 0 < coded_bytes < size
    if kind > JPEG or size < LEAST_BYTES or not fits:
        raise BadFrame("a picture of kind %d and %d bytes in a buffer of %d" % (kind, size, coded_bytes))
    return PlannedImage(index, kind, (descriptor >> _TIME_SHIFT & _TIME_MASK) * 1e-6, size, coded_bytes)


def _refuse_small(sizes):
    if sizes and min(sizes) < LARGE_BYTES:
        raise BadFrame("a buffer of %d bytes; smaller ones than %d lie in the head" % (min(sizes), LARGE_BYTES))
