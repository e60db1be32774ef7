"""Rendered arrays -> pictures for a browser.

Knows numpy and Pillow. Never knows an env or a page. Python 3.10 and up.
"""

import io

import numpy as np
from PIL import Image

JPEG_QUALITY = 88
# Below this number of pixels a PNG is small, and JPEG's blur is seen once the picture is enlarged.
PNG_PIXELS = 160 * 160


def encode(array: np.ndarray) -> bytes:
    """A PNG or JPEG of an array of numbers, (height, width) or (height, width, 1, 3 or 4 channels).

    Arrays of uint8 are shown as they are, without their fourth channel. Of others, those with colours are taken from
    the range 0 to 1 or else 0 to 255, and those without are shown from their smallest value (black) to their largest.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3:
        array = array[:, :, :3]
    image = Image.fromarray(np.ascontiguousarray(array if array.dtype == np.uint8 else _as_uint8(array)))
    file = io.BytesIO()
    if array.shape[0] * array.shape[1] <= PNG_PIXELS:
        image.save(file, "png", compress_level=1)
    else:
        image.save(file, "jpeg", quality=JPEG_QUALITY)
    return file.getvalue()


def _as_uint8(array: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if array.ndim == 3:
        scaled = values * 255.0 if low >= 0.0 and high <= 1.0 else values
    else:
        scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return np.clip(scaled, 0.0, 255.0).astype(np.uint8)
