"""Images as JPEG: the only lossy codec, and the only module that knows Pillow.

Knows colour images, and Pillow where it is installed. Only ``frames = "jpeg:…"`` uses it. Never knows the wire. Python
3.6 and up; runs on both sides.

Data: for each image its length, then a JPEG file. A batch is several files, so JPEG blocks do not cross image edges.
"""

import io
import struct
import sys

import numpy as np

from gym_service.protocol.values import BadValue

# The longest side that a JPEG file can have.
LONGEST_SIDE = 65500
# The side of a block with subsampled colours. A smaller array is not an image that people look at.
LEAST_SIDE = 16
CHANNELS = 3
_length = struct.Struct("<I")


def require(frames):
    """Raise ImportError with an explanation if this interpreter has no Pillow."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        text = 'frames = "%s" needs Pillow on both sides, and %s cannot import it (%s)\n  try: %s -m pip install pillow'
        raise ImportError(text % (frames, sys.executable, error, sys.executable)) from error


def takes(array):
    """Whether an array is one colour image or several: uint8 (…, height, width, 3)."""
    sides = array.shape[-3:-1]
    is_coloured = array.ndim >= 3 and array.shape[-1] == CHANNELS
    return is_coloured and min(sides) >= LEAST_SIDE and max(sides) <= LONGEST_SIDE


def encode(array, quality):
    """The data of an array that ``takes`` accepts."""
    from PIL import Image

    pieces = []
    for picture in np.ascontiguousarray(array).reshape((-1, *array.shape[-3:])):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        pieces += [_length.pack(file.tell()), file.getvalue()]
    return b"".join(pieces)


def decode(data, size_bytes):
    """The images in a row, as ``size_bytes`` flat bytes. Raises BadValue if the data is malformed."""
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
    """Decode one image to the beginning of ``room``. Returns its size in bytes."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data), formats=["JPEG"])
        width, height = picture.size
        size_bytes = width * height * CHANNELS
        # This check comes before the pixels are decoded: so far Pillow has read only the header.
        if picture.mode != "RGB" or size_bytes > len(room):
            raise BadValue("a JPEG picture of %d x %d, %s, in %d bytes" % (width, height, picture.mode, len(room)))
        room[:size_bytes] = np.asarray(picture).reshape(-1)
    # TypeError: numpy before 2 raises it for an image that Pillow cannot read to its end.
    except (Image.DecompressionBombError, OSError, SyntaxError, TypeError, ValueError, struct.error) as error:
        raise BadValue("not a JPEG image: %s" % error) from error
    return size_bytes
