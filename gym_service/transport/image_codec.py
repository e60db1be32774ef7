"""Images over a network: coded by the server, decoded by the client.

Knows arrays that look like images, and the descriptors by which a frame says how they are coded. Never knows an env, a
socket or how fast the network is. Python 3.6 and up; both sides load it. Where both sides share memory (``arena.py``)
nothing is coded, since it would save nothing.

Before an image's buffer stands a descriptor that is no size: LENT, the kind, how long coding took (us), the size of the
decoded image. So every size is checked against the bound before the first byte of a buffer is read.

DEFLATED. Both sides keep the last few images as references. The sender takes the reference of the same size that
resembles an image most, deflates the difference, and says which reference that was and in whose place the new image is
kept. The receiver only follows. So nothing needs to be known of cameras, resets or lists of rendered frames. Most
cameras of simulators do not move: then a difference deflates to a fraction of what the image itself does, costs no
more, and is undone with one addition. Rejected: differences between rows, which gain a little with some simulators,
lose it with others, and are undone row by row; deflating without a checksum, since a wrong bit would be a wrong image.

Only answers to calls that show what the env shows are coded (``messages.SHOWING``). Attributes, results of other calls
and all that the client sends go as they are.

Interrupts. An exception from elsewhere may end ``decode_buffers`` at any line, and it is called again with the same
frame. A difference must not be added twice, so each image is decoded first and becomes a reference only then.
"""

import struct
import zlib
from time import perf_counter
from typing import NamedTuple

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
        if place >= MAX_REFERENCES or self._bytes_beside(place) + flat.size > MAX_REFERENCE_BYTES:
            raise BadValue("a picture of %d bytes to be kept in place %d" % (flat.size, place))
        if old is not None and old.size == flat.size:
            np.copyto(old, flat)
        else:
            self._images[place] = flat.copy()
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
        is_too_much = self._bytes_beside(place) + size_bytes > MAX_REFERENCE_BYTES
        if is_too_much and self._order:
            place = self._order[0]
            is_too_much = self._bytes_beside(place) + size_bytes > MAX_REFERENCE_BYTES
        return NONE if is_too_much else place

    def _bytes_beside(self, place):
        """What the pictures in the other places hold together."""
        return sum([image.size for other, image in self._images.items() if other != place])


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

    def compose(self, buffers):
        """(what ``descriptors`` gives, what is to be settled once the frame is sent: nothing)."""
        return self.descriptors(buffers), None

    def parse_descriptors(self, descriptors):
        """Of a call: the sizes of its buffers, and their sum. Follows what the client wishes."""
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


class PlannedImage(NamedTuple):
    """A coded buffer of a frame that is being received."""

    buffer_index: int
    kind: int
    coding_s: float
    size_bytes: int  # of the image
    coded_bytes: int


class Wish:
    """Whether the server is to code from now on, in a call that is being sent."""

    __slots__ = ("_decoder", "_use_codec", "is_settled")

    def __init__(self, decoder, use_codec):
        self._decoder, self._use_codec, self.is_settled = decoder, use_codec, False

    def settle(self):
        """The call is sent, or will be: the server knows. It can be repeated."""
        self._decoder.told = self._use_codec
        self.is_settled = True


class ImageDecoder:
    """The client's end: decodes what the server has coded, and passes on what ``auto`` wishes.

    ``selector`` learns from this and perhaps other connections whether coding pays; None where that is settled.
    """

    def __init__(self, selector=None, measures=True):
        self.told = True  # what the server was last told to do
        self._selector = selector
        self._measures = measures
        self._plan = (), 0  # of the frame that is being received: PlannedImages, and how many have been decoded
        self._decoded = None  # (a PlannedImage, the image, its place): of the one that was decoded last
        self._begun = 0.0
        self._references = ReferenceImages()

    def compose(self, buffers):
        """(The buffers of a call, with a wish beside them where the server does not know it yet; what is to settle)."""
        selector = self._selector
        if selector is None or selector.use_codec == self.told:
            return buffers, None
        wish = selector.use_codec
        return [*buffers, LENT | wish], Wish(self, wish)

    def parse_descriptors(self, descriptors):
        """Of an answer: the sizes of its buffers as they come, and the sum of what they will be when decoded."""
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
        self._plan = plan, 0
        return sizes, total

    def decode_buffers(self, frame):
        """Put the image in place of each coded buffer. Raises BadValue where the bytes are none."""
        plan, done = self._plan
        if not plan:
            return
        arrived = perf_counter()
        for image in plan[done:]:
            if self._decoded is None or self._decoded[0] is not image:
                self._decoded = (image, *self._decode(image, frame.buffers[image.buffer_index]))
            _, decoded, place = self._decoded
            frame.buffers[image.buffer_index] = decoded
            if place != NONE:
                self._references.put(place, decoded)
            done += 1
            self._plan = plan, done
        self._plan, self._decoded = ((), 0), None
        if self._selector is not None and self._measures:
            self._measure(plan, arrived)

    def _decode(self, image, buffer):
        """(the image, the place where it is to be kept or NONE)."""
        if image.kind == DEFLATED:
            return self._inflate(buffer, image.size_bytes)
        return (jpeg.decode(buffer, image.size_bytes) if image.kind == JPEG else buffer), NONE

    def _measure(self, plan, arrived):
        ended = perf_counter()
        coding_s = sum([image.coding_s for image in plan])
        decoding_s = ended - arrived if coding_s else 0.0
        raw_bytes = sum([image.size_bytes for image in plan])
        coded_bytes = sum([image.coded_bytes for image in plan])
        self._selector.record_transfer(
            coding_s > 0, raw_bytes, coded_bytes, arrived - self._begun, coding_s + decoding_s, ended
        )

    def _inflate(self, buffer, size_bytes):
        """(the image, its place) of a DEFLATED buffer."""
        data = memoryview(buffer)
        if len(data) < _PLACES.size:
            raise BadValue("a coded picture of %d bytes" % len(data))
        nearest, place = _PLACES.unpack_from(data)
        inflater = zlib.decompressobj()
        try:
            # Never more than one byte beyond what was announced and allowed, whatever the data would grow to.
            flat = np.frombuffer(inflater.decompress(data[_PLACES.size :], size_bytes + 1), np.uint8)
        except zlib.error as error:
            raise BadValue("a coded picture that is none: %s" % error) from error
        if flat.size != size_bytes or not inflater.eof or inflater.unused_data:
            raise BadValue("a coded picture is not the %d bytes that were announced" % size_bytes)
        image = flat.copy() if nearest == NONE else flat + self._references.get(nearest, size_bytes)
        return image, place


def _descriptor(kind, seconds, size_bytes):
    """``seconds`` of 0 say that coding was not tried; any other are a microsecond at least."""
    time_us = min(max(int(seconds * 1e6), 1), _TIME_MASK) if seconds else 0
    return LENT | kind << _KIND_SHIFT | time_us << _TIME_SHIFT | size_bytes


def _planned(index, descriptor, coded_bytes):
    """What a buffer and the descriptor before it announce. Raises BadFrame where that cannot be."""
    kind, size = descriptor >> _KIND_SHIFT & _KIND_MASK, descriptor & _SIZE_MASK
    fits = coded_bytes == size if kind == STORED else 0 < coded_bytes < size
    if kind > JPEG or size < LEAST_BYTES or not fits:
        raise BadFrame("a picture of kind %d and %d bytes in a buffer of %d" % (kind, size, coded_bytes))
    return PlannedImage(index, kind, (descriptor >> _TIME_SHIFT & _TIME_MASK) * 1e-6, size, coded_bytes)


def _refuse_small(sizes):
    if sizes and min(sizes) < LARGE_BYTES:
        raise BadFrame("a buffer of %d bytes; smaller ones than %d lie in the head" % (min(sizes), LARGE_BYTES))
