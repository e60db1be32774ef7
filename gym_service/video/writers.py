"""Pictures -> a file: MP4 by PyAV, GIF and a contact sheet in PNG by Pillow.

Knows the two libraries, which are imported when a writer is made. Never knows an env. Python 3.10 and up.

A writer is given every frame with ``add`` and makes the file with ``finish``, at the path that it was made with: the
caller chooses one beside the file that is wanted, and moves it there when it is whole.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gym_service.errors import GymServiceError
from gym_service.video.frames import even

# What a player copes with: a GIF frame that is to stand for less than 0.02 s is shown for 0.1 s by browsers.
SHORTEST_GIF_FRAME_CS = 2
# Of a contact sheet: so many pictures at most, and none wider than this.
MOST_PICTURES = 24
WIDEST_PICTURE = 240
COLUMNS = 6
CAPTION_PIXELS = 14
MARGIN_PIXELS = 4


class Writer(Protocol):
    """Makes a file of frames. ``notes`` are sentences for the user, once it is finished."""

    notes: list[str]

    def add(self, frame: np.ndarray) -> None:
        """The next frame, (height, width, 3) of uint8, always of one size."""

    def finish(self) -> None:
        """Write what is left and close the file."""

    def close(self) -> None:
        """Let go of the file, finished or not."""


class Mp4Writer:
    """H.264 in MP4. Frames are encoded as they come, in this process."""

    def __init__(self, path: Path, fps: float) -> None:
        """Raises GymServiceError where PyAV is missing, or has no H.264."""
        try:
            import av
        except ImportError as error:
            text = f"an MP4 needs PyAV, which brings ffmpeg: {error}"
            raise GymServiceError(
                f'{text}\n  try: pip install "gym-service[video]", or a file in .gif or .png'
            ) from error
        self.notes: list[str] = []
        self._av: Any = av
        self._container: Any = av.open(str(path), mode="w", format="mp4", options={"movflags": "+faststart"})
        try:
            self._stream: Any = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        except ValueError as error:  # a PyAV that was built without it
            self._container.close()
            text = f"this PyAV ({av.__version__}) has no encoder for H.264: {error}"
            raise GymServiceError(f'{text}\n  try: pip install --force-reinstall "gym-service[video]"') from error
        self._stream.pix_fmt = "yuv420p"  # the one that every player has
        self._stream.options = {"crf": "18"}
        self._has_size = False

    def add(self, frame: np.ndarray) -> None:
        """See Writer."""
        picture = even(frame)
        if not self._has_size:
            self._has_size = True
            self._stream.height, self._stream.width = picture.shape[:2]
            if picture is not frame:
                height, width = frame.shape[:2]
                size = f"{picture.shape[1]}×{picture.shape[0]}"
                self.notes.append(f"{width}×{height} is an odd size, which H.264 has not: padded to {size}")
        for packet in self._stream.encode(self._av.VideoFrame.from_ndarray(picture, format="rgb24")):
            self._container.mux(packet)

    def finish(self) -> None:
        """See Writer."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self.close()

    def close(self) -> None:
        """See Writer."""
        self._container.close()


class GifWriter:
    """An animated GIF. The frames are kept, with 256 colours each, until the end."""

    def __init__(self, path: Path, fps: float) -> None:
        """Raises GymServiceError where Pillow is missing."""
        self._image = _pillow("a GIF")
        self.notes: list[str] = []
        self._path, self._fps = path, fps
        self._frames: list[Any] = []
        if 100 / fps < SHORTEST_GIF_FRAME_CS:
            slower = fps * SHORTEST_GIF_FRAME_CS / 100
            self.notes.append(f"a GIF has at most 50 frames a second: it plays {slower:.3g} times as slowly")

    def add(self, frame: np.ndarray) -> None:
        """See Writer."""
        self._frames.append(self._image.fromarray(frame).quantize(256, method=self._image.Quantize.FASTOCTREE))

    def finish(self) -> None:
        """See Writer."""
        self._frames[0].save(
            self._path,
            format="GIF",
            save_all=True,
            append_images=self._frames[1:],
            duration=_gif_durations_ms(len(self._frames), self._fps),
            loop=0,
            optimize=False,
            disposal=1,
        )

    def close(self) -> None:
        """See Writer."""
        self._frames.clear()


class ContactSheet:
    """Up to MOST_PICTURES frames, evenly spread over all, in one PNG."""

    def __init__(self, path: Path, fps: float) -> None:
        """Raises GymServiceError where Pillow is missing."""
        self._image = _pillow("a contact sheet")
        self.notes: list[str] = []
        self._path = path
        self._every = 1
        self._count = 0
        self._kept: list[tuple[int, np.ndarray]] = []

    def add(self, frame: np.ndarray) -> None:
        """See Writer. At most twice as many frames are kept as the sheet has."""
        if self._count % self._every == 0:
            self._kept.append((self._count, frame.copy()))
            if len(self._kept) > 2 * MOST_PICTURES:
                self._kept = self._kept[::2]
                self._every *= 2
        self._count += 1

    def finish(self) -> None:
        """See Writer."""
        from PIL import ImageDraw

        count = min(MOST_PICTURES, len(self._kept))
        chosen = [self._kept[round(at)] for at in np.linspace(0, len(self._kept) - 1, count)]
        height, width = chosen[0][1].shape[:2]
        scale = min(1.0, WIDEST_PICTURE / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        columns = min(COLUMNS, count)
        cell = size[0] + MARGIN_PIXELS, size[1] + CAPTION_PIXELS + MARGIN_PIXELS
        rows = -(-count // columns)
        sheet = self._image.new("RGB", (columns * cell[0] + MARGIN_PIXELS, rows * cell[1] + MARGIN_PIXELS), "white")
        draw = ImageDraw.Draw(sheet)
        for index, (number, frame) in enumerate(chosen):
            left = MARGIN_PIXELS + index % columns * cell[0]
            top = MARGIN_PIXELS + index // columns * cell[1]
            draw.text((left, top), f"{number}", fill="black")
            sheet.paste(self._image.fromarray(frame).resize(size), (left, top + CAPTION_PIXELS))
        sheet.save(self._path, format="PNG")
        if count < self._count:
            self.notes.append(f"{count} of {self._count} frames, with their numbers")

    def close(self) -> None:
        """See Writer."""
        self._kept.clear()


WRITERS: dict[str, type[Mp4Writer] | type[GifWriter] | type[ContactSheet]] = {
    ".mp4": Mp4Writer,
    ".gif": GifWriter,
    ".png": ContactSheet,
}


def _pillow(what: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        text = f"{what} needs Pillow: {error}"
        raise GymServiceError(f'{text}\n  try: pip install "gym-service[video]", or pip install pillow') from error
    return Image


def _gif_durations_ms(count: int, fps: float) -> list[int]:
    """How long each frame stands, in the whole hundredths of a second that a GIF has, without drifting off."""
    step_cs = max(SHORTEST_GIF_FRAME_CS, 100 / fps)
    ends_cs = [round(step_cs * (number + 1)) for number in range(count)]
    return [10 * (end - begin) for begin, end in zip([0, *ends_cs], ends_cs, strict=False)]
