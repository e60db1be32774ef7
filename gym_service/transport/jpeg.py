"""Pictures as JPEG: the one lossy way, and the only place that knows Pillow.

Knows colour pictures and Pillow, where it is installed; it is asked for only by ``frames = "jpeg:…"``. Never knows the
wire. Python 3.6 and up; runs on both sides.

Data: for each picture its length, then a JPEG file. A batch is so many pictures: blocks do not reach over their edges.
"""

import io
import struct
import sys

import numpy as np

from gym_service.protocol.values import BadValue

# A JPEG file holds no side longer than this.
LONGEST_SIDE = 65500
# The side of a block, with its colours halved. What is smaller is no picture for anybody to look at.
LEAST_SIDE = 16
CHANNELS = 3
_length = struct.Struct("<I")


def require(frames):
    """Raise ImportError, with a sentence, where this interpreter has no Pillow."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        text = 'frames = "%s" needs Pillow on both sides, and %s cannot import it (%s)\n  try: %s -m pip install pillow'
        raise ImportError(text % (frames, sys.executable, error, sys.executable)) from error


def takes(array):
    """Whether an array is one colour picture or several: uint8 (…, height, width, 3)."""
    sides = array.shape[-3:-1]
    is_coloured = array.ndim >= 3 and array.shape[-1] == CHANNELS
    return is_coloured and min(sides) >= LEAST_SIDE and max(sides) <= LONGEST_SIDE


def encode(array, quality):
    """The data of an array that ``takes`` takes."""
    from PIL import Image

    pieces = []
    for picture in np.ascontiguousarray(array).reshape((-1, *array.shape[-3:])):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        pieces += [_length.pack(file.tell()), file.getvalue()]
    return b"".join(pieces)


def decode(data, size_bytes):
    """The pictures in a row, as flat bytes: ``size_bytes`` of them. Raises BadValue where the data is none."""
    data = memoryview(data)
    flat = np.empty(size_bytes, np.uint8)
    at, filled = 0, 0
    while at < len(data):
        if len(data) - at < _length.size:
            raise BadValue("%d bytes after a JPEG picture" % (len(data) - at))
        end = at + _length.size + _length.unpack_from(data, at)[0]
        if end > len(data):
            raise BadValue("a JPEG picture of %d bytes with %d left" % (end - at - _length.size, len(data) - at))
        filled += _decode_one(data[at + _length.size : end], flat[filled:])
        at = end
    if filled != size_bytes:
        raise BadValue("JPEG pictures of %d bytes where %d were announced" % (filled, size_bytes))
    return flat


def _decode_one(data, room):
    """Fill the room's beginning with one picture; how many bytes it has."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data), formats=["JPEG"])
        width, height = picture.size
        size_bytes = width * height * CHANNELS
        # Before its pixels are: until here only its header has been read.
        if picture.mode != "RGB" or size_bytes > len(room):
            raise BadValue("a JPEG picture of %d x %d, %s, in %d bytes" % (width, height, picture.mode, len(room)))
        room[:size_bytes] = np.asarray(picture).reshape(-1)
    # TypeError: what numpy before 2 makes of a picture that Pillow cannot read to its end.
    except (Image.DecompressionBombError, OSError, SyntaxError, TypeError, ValueError, struct.error) as error:
        raise BadValue("a JPEG picture that is none: %s" % error) from error
    return size_bytes
