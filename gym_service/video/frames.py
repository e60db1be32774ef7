"""What an env renders -> pictures of one size, height x width x 3 of uint8.

Knows numpy and Pillow. Never knows an env or a file. Python 3.10 and up; Pillow is imported where a size changes.
"""

from typing import Any

import numpy as np

from gym_service.errors import GymServiceError


def rgb(frame: Any) -> np.ndarray:
    """A rendered frame as an array (height, width, 3) of uint8, in C order.

    Takes height x width (grey), x 1 (grey), x 3 and x 4 (whose fourth channel is left out), in any memory order.

    Raises:
        GymServiceError: it is no picture of 8-bit numbers; the text says what it is.
    """
    array = frame if isinstance(frame, np.ndarray) else None
    if array is None or array.dtype != np.uint8:
        raise GymServiceError(f"the env rendered {_kind(frame)}, and a picture is an array of uint8")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        text = f"the env rendered an array of the shape {array.shape}"
        raise GymServiceError(f"{text}; a picture has (height, width), with 1, 3 or 4 channels")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def _kind(frame: Any) -> str:
    if isinstance(frame, np.ndarray):
        return f"an array of {frame.dtype}"
    return "nothing" if frame is None else f"a {type(frame).__name__}"


class OneSize:
    """Makes pictures as large as the first one was: a video has one size.

    A smaller or larger picture is scaled to fit and centred on black. ``changed`` counts those.
    """

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None  # height, width
        self.changed = 0

    def fit(self, frame: np.ndarray) -> np.ndarray:
        """The frame, in the size of the first."""
        shape = frame.shape[0], frame.shape[1]
        self.size = self.size or shape
        if shape == self.size:
            return frame
        from PIL import Image

        self.changed += 1
        height, width = self.size
        scale = min(height / shape[0], width / shape[1])
        scaled = max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
        canvas = Image.new("RGB", (width, height))
        canvas.paste(Image.fromarray(frame).resize(scaled), ((width - scaled[0]) // 2, (height - scaled[1]) // 2))
        return np.asarray(canvas)


def even(frame: np.ndarray) -> np.ndarray:
    """The frame with its last row and column repeated where their number is odd: H.264 has only even sizes."""
    height, width = frame.shape[:2]
    if not (height % 2 or width % 2):
        return frame
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
