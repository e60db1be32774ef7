"""Images over a network: the server encodes them, the client decodes them.

Knows arrays that look like images, and the descriptors that say how a frame encodes them. Never knows an env, a socket
or the speed of the network. Python 3.6 and up; both sides load it. Where both sides share memory (``arena.py``) images
are not encoded, since that would save nothing.

The descriptor before an image's buffer is not a size: it holds LENT, the kind, the time of encoding (us) and the size
of the decoded image. So every size is checked against the bound before the first byte of a buffer is read.

DEFLATED. Both sides keep the last few images as references. The sender finds the reference of the same size that
resembles an image most, deflates the difference, and names that reference and the place where the new image is stored.
The receiver only follows. So neither side needs to know about cameras, resets or lists of rendered frames. Most cameras
of simulators do not move: then a difference deflates to a fraction of the size of the deflated image, costs no more,
and needs one addition to undo. Rejected: differences between rows, which gain a little with some simulators and lose it
with others, and need an addition for each row; deflating without a checksum, since a wrong bit would be a wrong image.

Only answers to calls that show the env's state are encoded (``messages.SHOWING``). Attributes, results of other calls
and everything that the client sends are not.

Interrupts. An exception of a signal handler may end ``decode_buffers`` at any line; then it is called again with the
same frame. A difference must not be added twice, so each image is decoded first and becomes a reference afterwards.
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
# Smaller images are sent in less time than encoding takes.
LEAST_BYTES = LARGE_BYTES
# The most references on either side. A batch of 32 renders of 680 x 680 has 44 MB.
MAX_REFERENCES, MAX_REFERENCE_BYTES = 8, 64 * 2**20
# The number of bytes to compare; the fraction that must be equal for a difference to pay; and the fraction for the new
# image to replace its reference. Images of another camera of the same size may share half of their bytes.
SAMPLES, RESEMBLING, SAME = 1024, 0.5, 0.75
STORED, DEFLATED, JPEG = range(3)
_KIND_SHIFT, _TIME_SHIFT = 56, 32
_KIND_MASK, _TIME_MASK, _SIZE_MASK = 0x7F, 2**24 - 1, 2**32 - 1
# Before the data of a DEFLATED buffer: the place of its reference, and the place to store the image; or NONE.
_PLACES = struct.Struct("<BB")
NONE = 255
LEVEL = 1


def shown(frames):
    """The name of a ``frames`` setting for users: it marks lossy ones."""
    return "%s (lossy)" % frames if frames.startswith("jpeg") else frames


def encoder_for(frames):
    """The ImageEncoder for a ``frames`` setting; None for "raw".

    Raises:
        BadValue: the setting is unknown.
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
    """Whether an array is encoded without loss: uint8 with two or more dimensions, not floats or state vectors."""
    return array.dtype == np.uint8 and array.ndim >= 2 and LEAST_BYTES <= array.nbytes <= _SIZE_MASK


class ReferenceImages:
    """The last few images, flat, by place. Both sides hold the same ones, since frames arrive in order."""

    def __init__(self):
        self._images = {}
        self._order = []  # the places, the longest unused first

    def get(self, place, size_bytes):
        """The image in a place. Raises BadValue if it holds no image of that size."""
        kept = self._images.get(place)
        if kept is None or kept.size != size_bytes:
            raise BadValue(
                "a difference to a picture of %d bytes in place %d, which is not there" % (size_bytes, place)
            )
        return kept

    def put(self, place, flat):
        """Store a copy in a place. Raises BadValue beyond the limits."""
        old = self._images.get(place)
        if place >= MAX_REFERENCES or self._bytes_beside(place) + flat.size > MAX_REFERENCE_BYTES:
            raise BadValue("a picture of %d bytes to be kept in place %d" % (flat.size, place))
        if old is not None and old.size == flat.size:
            np.copyto(old, flat)
        else:
            self._images[place] = flat.copy()
        self._order = [other for other in self._order if other != place] + [place]

    def nearest(self, flat):
        """The place of the image of the same size that equals this one in most samples, and the fraction of those."""
        step = flat.size // SAMPLES | 1  # odd, so that the samples include every channel
        sample = flat[::step]
        place, most = NONE, 0
        for other, kept in self._images.items():
            if kept.size == flat.size:
                alike = np.count_nonzero(kept[::step] == sample)
                if alike > most:
                    place, most = other, alike
        return place, most / sample.size

    def room_for(self, size_bytes):
        """The place for a new image, perhaps that of the longest unused one; NONE if the image is too large."""
        place = len(self._order) if len(self._order) < MAX_REFERENCES else self._order[0]
        is_too_much = self._bytes_beside(place) + size_bytes > MAX_REFERENCE_BYTES
        if is_too_much and self._order:
            place = self._order[0]
            is_too_much = self._bytes_beside(place) + size_bytes > MAX_REFERENCE_BYTES
        return NONE if is_too_much else place

    def _bytes_beside(self, place):
        """The total size of the images in the other places."""
        return sum([image.size for other, image in self._images.items() if other != place])


class ImageEncoder:
    """The server's end: encodes the images that it sends."""

    def __init__(self, is_auto, quality=0):
        self.is_on = False  # whether the current answer may be encoded: the server sets it for each call
        self.use_codec = True  # for "auto": what the client has asked for last
        self.is_lossy = quality > 0
        self._is_auto = is_auto
        self._quality = quality  # of JPEG; 0 for none
        self._references = ReferenceImages()

    def descriptors(self, buffers):
        """The buffers of a frame, with a descriptor before each image, encoded or not. Blocks while it encodes."""
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
        """(The result of ``descriptors``, None: there is nothing to settle once the frame is sent)."""
        return self.descriptors(buffers), None

    def parse_descriptors(self, descriptors):
        """The sizes of a call's buffers, and their sum. Also takes note whether the client asks for encoding."""
        sizes = [descriptor for descriptor in descriptors if descriptor < LENT]
        for descriptor in descriptors:
            if descriptor >= LENT:
                if not self._is_auto or descriptor - LENT > 1:
                    raise BadFrame("a descriptor %#x, which means nothing here" % descriptor)
                self.use_codec = descriptor != LENT
        _refuse_small(sizes)
        return sizes, sum(sizes)

    def decode_buffers(self, frame):
        """Do nothing: calls hold no encoded buffers."""

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
        """The bytes of a DEFLATED buffer; None, and the image is not stored, if they would not be fewer."""
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
    """One encoded buffer of a frame that is being received."""

    buffer_index: int
    kind: int
    coding_s: float
    size_bytes: int  # of the image
    coded_bytes: int


class Wish:
    """A client's request, in a call that is being sent, that the server encode images from now on or stop doing so."""

    __slots__ = ("_decoder", "_use_codec", "is_settled")

    def __init__(self, decoder, use_codec):
        self._decoder, self._use_codec, self.is_settled = decoder, use_codec, False

    def settle(self):
        """Record that the server knows the request: the call is sent, or will be. Can be repeated."""
        self._decoder.told = self._use_codec
        self.is_settled = True


class ImageDecoder:
    """The client's end: decodes images, and with ``auto`` tells the server whether to encode.

    ``selector`` learns from this and perhaps other connections whether encoding pays; None if the setting is fixed.
    """

    def __init__(self, selector=None, measures=True):
        self.told = True  # what the server was last asked to do
        self._selector = selector
        self._measures = measures
        self._plan = (), 0  # of the frame that is being received: PlannedImages, and how many are decoded
        self._decoded = None  # (PlannedImage, image, place) of the image decoded last
        self._begun = 0.0
        self._references = ReferenceImages()

    def compose(self, buffers):
        """(The buffers of a call, with a request if the server does not know it yet; what to settle)."""
        selector = self._selector
        if selector is None or selector.use_codec == self.told:
            return buffers, None
        wish = selector.use_codec
        return [*buffers, LENT | wish], Wish(self, wish)

    def parse_descriptors(self, descriptors):
        """The sizes of an answer's buffers as received, and the total size of what they decode to."""
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
        """Replace each encoded buffer by its image. Raises BadValue if the bytes are malformed."""
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
        """(The image, the place to store it in, or NONE)."""
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
        """(Image, place) of a DEFLATED buffer."""
        data = memoryview(buffer)
        if len(data) < _PLACES.size:
            raise BadValue("a coded picture of %d bytes" % len(data))
        nearest, place = _PLACES.unpack_from(data)
        inflater = zlib.decompressobj()
        try:
            # At most one byte more than announced and allowed, whatever size the data would decompress to.
            flat = np.frombuffer(inflater.decompress(data[_PLACES.size :], size_bytes + 1), np.uint8)
        except zlib.error as error:
            raise BadValue("not an encoded image: %s" % error) from error
        if flat.size != size_bytes or not inflater.eof or inflater.unused_data:
            raise BadValue("a coded picture is not the %d bytes that were announced" % size_bytes)
        image = flat.copy() if nearest == NONE else flat + self._references.get(nearest, size_bytes)
        return image, place


def _descriptor(kind, seconds, size_bytes):
    """0 ``seconds`` mean that encoding was not tried; any other time is at least one microsecond."""
    time_us = min(max(int(seconds * 1e6), 1), _TIME_MASK) if seconds else 0
    return LENT | kind << _KIND_SHIFT | time_us << _TIME_SHIFT | size_bytes


def _planned(index, descriptor, coded_bytes):
    """The PlannedImage that a buffer and the descriptor before it announce. Raises BadFrame if they are invalid."""
    kind, size = descriptor >> _KIND_SHIFT & _KIND_MASK, descriptor & _SIZE_MASK
    fits = coded_bytes == size if kind == STORED else 0 < coded_bytes < size
    if kind > JPEG or size < LEAST_BYTES or not fits:
        raise BadFrame("a picture of kind %d and %d bytes in a buffer of %d" % (kind, size, coded_bytes))
    return PlannedImage(index, kind, (descriptor >> _TIME_SHIFT & _TIME_MASK) * 1e-6, size, coded_bytes)


def _refuse_small(sizes):
    if sizes and min(sizes) < LARGE_BYTES:
        raise BadFrame("a buffer of %d bytes; smaller ones than %d lie in the head" % (min(sizes), LARGE_BYTES))
