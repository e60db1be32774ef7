"""Encodes values and reads them back without a connection, and feeds frames to a decoder."""

from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance

from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import Frame, FrameDecoder
from gym_service.protocol.values import flat_bytes


def encoded(*values: Any) -> Encoder:
    """The values in a row, as in a message."""
    encoder = Encoder()
    for value in values:
        encoder.add(value)
    return encoder


def values_of(head: Any, buffers: Any, count: int) -> list[Any]:
    """Exactly ``count`` values, with nothing left over. Raises BadValue."""
    reader = ValueDecoder(head, received(buffers), GraphInstance)
    values = [reader.read() for _ in range(count)]
    reader.expect_end()
    return values


def received(buffers: Any) -> list[Any]:
    """Buffers as the receiver gets them: flat, in C order, in their own memory."""
    arrays = [np.frombuffer(buffer, np.uint8) if isinstance(buffer, bytes) else buffer for buffer in buffers]
    return [flat_bytes(array).copy() for array in arrays]


def crossed(value: Any) -> Any:
    """A value as it arrives."""
    encoder = encoded(value)
    return values_of(encoder.head, encoder.buffers, 1)[0]


def feed(decoder: FrameDecoder, data: bytes) -> Frame | None:
    """Pass bytes to the decoder, in as many pieces as its buffers require. Returns the first complete frame."""
    rest = memoryview(data)
    frame = None
    while len(rest):
        buffer = decoder.next_buffer()
        size = min(len(buffer), len(rest))
        buffer[:size] = rest[:size]
        rest = rest[size:]
        whole = decoder.received(size)
        assert whole is None or frame is None, "two frames became whole"
        frame = frame or whole
    return frame
