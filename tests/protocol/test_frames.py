"""Frames: golden headers, pieces of every size, the place where arrays arrive, and the bounds, checked first."""

import random
import struct
import tracemalloc

import numpy as np
import pytest
from support.crossing import encoded, feed, received, values_of
from support.same import same

from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.frames import (
    BOUND_BYTES,
    HEADER,
    SCRATCH_BYTES,
    BadFrame,
    Frame,
    FrameDecoder,
    WrongVersion,
    frame_bytes,
)

LARGE = bytes(range(256)) * 48  # 12 KiB, the least of a buffer
LIGHT = b"gS\x04\x41\x07\0\0\0\x03\0\0\0\0\0\0\0abc"
HEAVY = (
    b"gS\x04\x02\xff\xff\xff\xff\x01\0\0\0\x02\0\0\0" + struct.pack("<2Q", 12288, 12289) + b"x" + LARGE + LARGE + b"!"
)


def facts(frame: Frame | None) -> tuple[int, int, bytes, list[bytes]]:
    assert frame is not None
    return frame.kind, frame.call_id, bytes(frame.head), [bytes(buffer) for buffer in frame.buffers]


LIGHT_FACTS = (0x41, 7, b"abc", [])
HEAVY_FACTS = (2, 2**32 - 1, b"x", [LARGE, LARGE + b"!"])


def test_golden_frames() -> None:
    assert b"".join(frame_bytes(0x41, 7, bytearray(b"abc"))) == LIGHT
    assert b"".join(frame_bytes(2, 2**32 - 1, b"x", [LARGE, LARGE + b"!"])) == HEAVY
    assert facts(feed(FrameDecoder(), LIGHT)) == LIGHT_FACTS
    assert facts(feed(FrameDecoder(), HEAVY)) == HEAVY_FACTS


def test_buffers_are_not_copied_into_a_frame() -> None:
    array = np.frombuffer(LARGE, np.uint8)
    pieces = frame_bytes(1, 1, b"", [array])
    assert len(pieces) == 2
    assert np.shares_memory(pieces[1], array)


@pytest.mark.parametrize(("data", "expected"), [(LIGHT, LIGHT_FACTS), (HEAVY, HEAVY_FACTS)], ids=["light", "heavy"])
def test_truncated_at_every_offset_it_is_no_frame_and_not_idle(data: bytes, expected: tuple) -> None:
    decoder = FrameDecoder()
    assert decoder.at_boundary
    for offset in range(1, len(data)):
        assert feed(decoder, data[offset - 1 : offset]) is None
        assert not decoder.at_boundary
        assert len(decoder.next_buffer()) > 0
    assert facts(feed(decoder, data[-1:])) == expected
    assert decoder.at_boundary


@pytest.mark.parametrize(
    ("data", "expected"),
    [(LIGHT * 3, [LIGHT_FACTS] * 3), (HEAVY + LIGHT, [HEAVY_FACTS, LIGHT_FACTS])],
    ids=["light", "heavy and light"],
)
def test_read_in_pieces_of_every_size(data: bytes, expected: list) -> None:
    for size in [*range(1, 200), *range(200, len(data) + 1, 97), len(data)]:
        assert frames_in(data, size) == expected


def frames_in(data: bytes, piece: int) -> list[tuple[int, int, bytes, list[bytes]]]:
    """The frames that result if no read returns more than ``piece`` bytes, as can happen with a socket."""
    decoder, found, at = FrameDecoder(), [], 0
    while at < len(data):
        buffer = decoder.next_buffer()
        size = min(piece, len(buffer), len(data) - at)
        buffer[:size] = data[at : at + size]
        at += size
        frame = decoder.received(size)
        while frame is not None:
            found.append(facts(frame))
            frame = decoder.received(0)
    assert decoder.at_boundary
    return found


def test_random_frames_in_random_pieces() -> None:
    chance = random.Random(5)
    for _ in range(50):
        frames = []
        for call_id in range(10):
            head = chance.randbytes(chance.choice([0, 1, 100, SCRATCH_BYTES - 16, SCRATCH_BYTES, SCRATCH_BYTES + 1]))
            sizes = chance.choices([12288, 13000, 70_000], k=chance.choice([0, 0, 1, 3]))
            buffers = [chance.randbytes(size) for size in sizes]
            frames.append((chance.randrange(256), call_id, head, buffers))
        data = b"".join(piece for frame in frames for piece in frame_bytes(*frame))
        assert frames_in(data, chance.choice([100, 12288, SCRATCH_BYTES, 10**6])) == frames


def test_several_frames_in_one_read() -> None:
    decoder = FrameDecoder()
    data = LIGHT + HEAVY + LIGHT + HEAVY[:20]
    decoder.next_buffer()[: len(data)] = data
    assert facts(decoder.received(len(data))) == LIGHT_FACTS
    assert not decoder.at_boundary
    assert facts(decoder.received(0)) == HEAVY_FACTS
    assert facts(decoder.received(0)) == LIGHT_FACTS
    assert decoder.received(0) is None
    assert not decoder.at_boundary
    assert facts(feed(decoder, HEAVY[20:])) == HEAVY_FACTS
    assert decoder.at_boundary


def test_a_head_may_be_looked_at_until_the_next_read() -> None:
    decoder = FrameDecoder()
    decoder.next_buffer()[: 2 * len(LIGHT)] = LIGHT * 2
    first = decoder.received(2 * len(LIGHT))
    second = decoder.received(0)
    assert first is not None
    assert bytes(first.head) == b"abc"
    assert facts(second) == LIGHT_FACTS


def test_the_room_is_as_large_as_a_head_and_small_again_after_it() -> None:
    decoder = FrameDecoder()
    frame = feed(decoder, b"".join(frame_bytes(1, 1, bytes(3 * SCRATCH_BYTES))))
    assert frame is not None
    assert len(frame.head) == 3 * SCRATCH_BYTES
    assert decoder.received(0) is None
    assert len(decoder.next_buffer()) == SCRATCH_BYTES


def test_large_arrays_land_in_memory_of_their_own() -> None:
    sent = [np.arange(4096, dtype="<i4"), np.arange(4096, dtype="<i4"), np.arange(3000.0)]
    encoder = encoded(*sent)
    data = b"".join(frame_bytes(1, 1, encoder.head, encoder.buffers))
    decoder = FrameDecoder()
    buffer = np.frombuffer(decoder.next_buffer(), np.uint8)
    frame = feed(decoder, data)
    assert frame is not None
    head = bytes(frame.head)
    arrays = [np.ndarray(a.shape, a.dtype, buffer) for a, buffer in zip(sent, frame.buffers, strict=True)]
    assert same(arrays, sent)
    assert feed(decoder, data) is not None
    assert same(values_of(head, frame.buffers, 3), sent), "the next frame was read over this one"
    for index, array in enumerate(arrays):
        others = [*arrays[:index], *arrays[index + 1 :], *sent, buffer]
        assert not any(np.shares_memory(array, other) for other in others)
        assert array.flags.writeable
        assert array.flags.aligned


def test_an_array_is_its_buffer_and_no_copy_of_it() -> None:
    encoder = encoded(np.arange(3000))
    buffers = received(encoder.buffers)
    assert np.shares_memory(ValueDecoder(encoder.head, buffers).read(), buffers[0])


def header(head_bytes: int = 0, *sizes: int, count: int | None = None, start: bytes = b"gS\x04") -> bytes:
    count = len(sizes) if count is None else count
    return start + struct.pack(f"<BIII{len(sizes)}Q", 1, 1, head_bytes, count, *sizes)


TOO_MUCH = {
    "head": header(BOUND_BYTES + 1),
    "largest head": header(2**32 - 1),
    "count": header(0, count=2**32 - 1),
    "count that fits only without its buffers": header(0, count=BOUND_BYTES // 4096 + 1),
    "buffer": header(0, BOUND_BYTES + 1),
    "largest buffer": header(0, 2**64 - 1),
    "sum of buffers": header(0, *[BOUND_BYTES // 4 + 1] * 4),
    "sum that would wrap at 64 bits": header(0, 2**63, 2**63),
    "head and buffer": header(BOUND_BYTES - 12287, 12288),
    "small buffer": header(0, 12287),
    "empty buffers": header(0, *[0] * 100),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_over_the_bound_is_refused_before_anything_is_allocated(name: str) -> None:
    decoder = FrameDecoder()
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame, match=r"bound|buffer of"):
            feed(decoder, TOO_MUCH[name])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_bound_met_exactly_and_exceeded_by_one() -> None:
    for data, bound in ((header(100) + bytes(100), 100), (header(100, 13000) + bytes(13100), 13100)):
        assert feed(FrameDecoder(bound), data) is not None
        with pytest.raises(BadFrame, match=f"bound is {bound - 1}"):
            feed(FrameDecoder(bound - 1), data)


def test_the_bound_may_be_raised_between_frames() -> None:
    decoder = FrameDecoder(100)
    assert feed(decoder, header(100) + bytes(100)) is not None
    decoder.bound_bytes = 200
    assert feed(decoder, header(200) + bytes(200)) is not None


@pytest.mark.parametrize("beginning", [b"H", b"\0", b"g\0", b"GET / HTTP/1.1\r\n\r\n", b"\x80\x04\x95" + bytes(50)])
def test_what_is_no_frame_is_known_by_its_first_bytes(beginning: bytes) -> None:
    with pytest.raises(BadFrame, match="are not a frame"):
        feed(FrameDecoder(), beginning)


@pytest.mark.parametrize("version", [0, 1, 3, 5, 255])
@pytest.mark.parametrize("rest", [b"", bytes(100)])
def test_another_version_is_known_by_its_third_byte(version: int, rest: bytes) -> None:
    with pytest.raises(WrongVersion) as wrong:
        feed(FrameDecoder(), b"gS" + bytes([version]) + rest)
    assert wrong.value.theirs == version
    assert f"version {version} of the wire, this side version 4" in str(wrong.value)


def test_a_bad_frame_after_a_good_one_is_refused_too() -> None:
    decoder = FrameDecoder()
    assert feed(decoder, LIGHT) is not None
    with pytest.raises(BadFrame):
        feed(decoder, b"gT")


def test_the_header_is_sixteen_bytes() -> None:
    assert HEADER.size == 16


def test_a_long_head_takes_memory_as_its_bytes_come() -> None:
    """A header is sixteen bytes, and easy to forge."""
    decoder, head_bytes = FrameDecoder(), 40 * 2**20
    tracemalloc.start()
    try:
        feed(decoder, HEADER.pack(b"gS", 4, 65, 1, head_bytes, 0) + bytes(SCRATCH_BYTES))
        assert tracemalloc.get_traced_memory()[1] < 6 * SCRATCH_BYTES
        for sent in (2**20, 4 * 2**20):
            feed(decoder, bytes(sent))
            assert tracemalloc.get_traced_memory()[0] < 4 * 2 * sent
    finally:
        tracemalloc.stop()
    rest = head_bytes - SCRATCH_BYTES - 5 * 2**20
    frame = feed(decoder, bytes(rest - 1) + b"!" + LIGHT[:3])
    assert frame is not None
    assert (len(frame.head), frame.head[-1]) == (head_bytes, ord("!"))
    assert facts(feed(decoder, LIGHT[3:])) == LIGHT_FACTS
