"""Frames with encoded images: two connected ends, images, and handmade frames.

Knows the image codec and the frames of the wire. Python 3.10 and up.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_service.protocol.frames import BOUND_BYTES, VERSION, FrameDecoder, frame_bytes
from gym_service.transport import image_codec
from gym_service.transport.image_codec import (
    ImageDecoder,
)
from support.crossing import feed


class Link:
    """A server's end and a client's end, connected by bytes in memory."""

    def __init__(self, frames: str = "zlib", selector: Any = None) -> None:
        self.coder = image_codec.encoder_for(frames)
        self.coder.is_on = True
        self.restorer = ImageDecoder(selector)
        self.decoder = FrameDecoder()
        self.decoder.image_codec = self.restorer
        self.sent: list[int] = []

    def cross(self, *buffers: Any) -> list[Any]:
        """The buffers of a frame as they arrive, in their shapes."""
        data = b"".join(bytes(piece) for piece in frame_bytes(1, 1, b"head", self.coder.descriptors(list(buffers))))
        self.sent.append(len(data))
        frame = feed(self.decoder, data)
        assert frame is not None
        assert bytes(frame.head) == b"head"
        assert self.decoder.at_boundary
        given = zip(frame.buffers, buffers, strict=True)
        return [np.ndarray(sent.shape, sent.dtype, arrived) for arrived, sent in given]


def picture(seed: int = 0, shape: Sequence[int] = (64, 96, 3)) -> "np.ndarray[Any, Any]":
    """A smooth image, with a bright square whose position depends on the seed."""
    grid = np.indices(shape).sum(axis=0)
    made = (grid // 4 % 200).astype(np.uint8)
    made[..., seed % 40 : seed % 40 + 8, :] = 250
    return made


def noise(shape: Sequence[int] = (64, 96, 3), seed: int = 0) -> "np.ndarray[Any, Any]":
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def entry(kind: int, size: int, time_us: int = 7) -> int:
    return 1 << 63 | kind << 56 | time_us << 32 | size


def frame(*entries_and_buffers: Any) -> bytes:
    """A frame from single table entries and buffers. The function adds the entry for each buffer's size."""
    entries = [part if isinstance(part, int) else len(part) for part in entries_and_buffers]
    buffers = [part for part in entries_and_buffers if not isinstance(part, int)]
    return struct.pack(f"<2sBBIII{len(entries)}Q", b"gS", VERSION, 1, 1, 0, len(entries), *entries) + b"".join(buffers)


def restored(*frames: bytes, bound_bytes: int = BOUND_BYTES) -> Any:
    """The buffers of the last frame, after all frames were decoded."""
    decoder = FrameDecoder(bound_bytes)
    decoder.image_codec = ImageDecoder()
    found = [feed(decoder, data) for data in frames][-1]
    assert found is not None
    return [bytes(buffer) for buffer in found.buffers]
