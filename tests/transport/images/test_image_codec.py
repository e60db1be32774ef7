"""Images encoded and decoded without a network: golden bytes, properties, limits, and bytes from a hostile peer."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from support.crossing import feed
from support.image_frames import Link, entry, frame, noise, picture, restored

from gym_service.protocol.frames import BOUND_BYTES, LENT, BadFrame, FrameDecoder, frame_bytes
from gym_service.protocol.values import BadValue
from gym_service.transport import image_codec
from gym_service.transport.image_codec import (
    DEFLATED,
    JPEG,
    LEAST_BYTES,
    MAX_REFERENCE_BYTES,
    MAX_REFERENCES,
    NONE,
    STORED,
    ImageEncoder,
)

DEADLINE_FREE = settings(deadline=None, max_examples=25)


# -- golden ------------------------------------------------------------------------------------------------------------


ZEROS, ONES = bytes(LEAST_BYTES), b"\1" * LEAST_BYTES
PLAIN_ONES = b"\xff\x00" + zlib.compress(ONES, 9)


def test_golden_frames() -> None:
    page = bytes(range(256)) * 48
    assert restored(frame(entry(STORED, len(page)), page)) == [page]
    assert restored(frame(entry(DEFLATED, LEAST_BYTES), PLAIN_ONES)) == [ONES]
    twice = b"\x00\x01" + zlib.compress(ONES)  # each byte one more than in place 0; stored in place 1
    assert restored(frame(entry(DEFLATED, LEAST_BYTES), PLAIN_ONES), frame(entry(DEFLATED, LEAST_BYTES), twice)) == [
        b"\2" * LEAST_BYTES
    ]
    between = frame(page[:12288], entry(DEFLATED, LEAST_BYTES), PLAIN_ONES, page)
    assert restored(between) == [page[:12288], ONES, page]


def test_what_is_sent_is_what_the_golden_frames_say() -> None:
    coder = ImageEncoder(False)
    coder.is_on = True
    ones = np.ones((96, 128), np.uint8)
    first, coded = coder.descriptors([ones])
    assert first & ~(2**24 - 1 << 32) == entry(DEFLATED, LEAST_BYTES, 0)
    assert (first >> 32) & (2**24 - 1) > 0
    assert bytes(coded[:2]) == b"\xff\x00"
    assert zlib.decompress(bytes(coded[2:])) == ONES
    second, difference = coder.descriptors([ones + 0])
    assert second & 2**32 - 1 == LEAST_BYTES
    assert bytes(difference[:2]) == b"\x00\x00"
    assert zlib.decompress(bytes(difference[2:])) == ZEROS


# -- what is coded -----------------------------------------------------------------------------------------------------

CODED = {
    "colours": picture(),
    "with transparency": picture(shape=(64, 96, 4)),
    "grey": picture(shape=(96, 128)),
    "grey with an axis": picture(shape=(96, 128, 1)),
    "channels first": picture(shape=(4, 84, 84)),
    "a batch": picture(shape=(5, 64, 96, 3)),
    "upside down": picture()[::-1],
    "Fortran's order": np.asfortranarray(picture()),
    "a slice": picture(shape=(64, 200, 3))[:, 3:99],
}
NOT_CODED = {
    "floats": np.zeros((64, 96, 3), np.float32),
    "float pictures of zeros": np.zeros((200, 200), np.float64),
    "signed bytes": np.zeros((64, 96, 3), np.int8),
    "booleans": np.zeros((96, 96), np.bool_),
    "wider integers": np.zeros((96, 96), np.uint16),
    "a long vector of bytes": np.zeros(100_000, np.uint8),
    "a small picture": np.zeros((52, 52, 3), np.uint8),
}


@pytest.mark.parametrize("name", CODED)
def test_pictures_are_coded_and_come_back_bit_for_bit(name: str) -> None:
    link, sent = Link(), CODED[name]
    for _ in range(2):
        assert np.array_equal(link.cross(sent)[0], sent)
    assert link.sent[0] < sent.nbytes / 4
    assert link.sent[1] < sent.nbytes / 40, "an identical image takes few bytes"


@pytest.mark.parametrize("name", NOT_CODED)
def test_anything_else_is_left_alone(name: str) -> None:
    coder, array = ImageEncoder(False), NOT_CODED[name]
    coder.is_on = True
    (left,) = coder.descriptors([array])
    assert left is array


def test_nothing_is_coded_in_answers_that_show_nothing() -> None:
    coder, array = ImageEncoder(False), picture()
    assert coder.descriptors([array])[0] is array


def test_what_coding_does_not_make_smaller_goes_as_it_is() -> None:
    link = Link()
    for seed in range(3):
        sent = noise(seed=seed)
        first, buffer = link.coder.descriptors([sent])
        assert buffer is sent
        assert first >> 56 & 0x7F == STORED
        assert np.array_equal(link.cross(sent)[0], sent)


def test_what_arrives_is_the_users_to_write_into() -> None:
    link, sent = Link(), picture()
    for _ in range(3):
        (arrived,) = link.cross(sent)
        assert np.array_equal(arrived, sent)
        assert arrived.flags.writeable
        arrived[:] = 77
    sent_before = sent.copy()
    sent[:] = 5  # the simulator draws into the same memory, as many simulators do
    assert np.array_equal(link.cross(sent)[0], sent)
    assert np.array_equal(link.cross(sent_before)[0], sent_before)


def test_a_camera_that_stands_still_costs_little() -> None:
    """Noise does not deflate, so the whole gain comes from the difference."""
    link, background = Link(), noise((120, 160, 3))
    for step in range(5):
        sent = background.copy()
        sent[step * 4 : step * 4 + 10, 20:30] = 255
        assert np.array_equal(link.cross(sent)[0], sent)
        # The first image does not become smaller, so it is not stored.
    half = background.copy()
    half[60:] = 0
    link.cross(half)
    moved = half.copy()
    moved[70:80, 20:30] = 255
    assert np.array_equal(link.cross(moved)[0], moved)
    assert link.sent[-1] < half.nbytes / 50


def test_several_cameras_of_one_size_do_not_disturb_each_other() -> None:
    link = Link()
    halves = [noise((64, 96, 3), seed) // 128 * 128 for seed in range(3)]
    for step in range(4):
        frames = [half.copy() for half in halves]
        for sent in frames:
            sent[step : step + 4, 10:20] = 9
        for sent, arrived in zip(frames, link.cross(*frames), strict=True):
            assert np.array_equal(arrived, sent)
    assert link.sent[-1] < link.sent[0] / 10


@DEADLINE_FREE
@given(st.data())
def test_any_run_of_frames_comes_back_bit_for_bit(data: st.DataObject) -> None:
    """Any shapes, values and orders, with more images than there are references."""
    link = Link()
    shapes = data.draw(
        st.lists(arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=40), min_size=1, max_size=12)
    )
    shapes = [(-(-LEAST_BYTES // int(np.prod(shape[1:]))) + shape[0], *shape[1:]) for shape in shapes]
    for _ in range(data.draw(st.integers(1, 4))):
        frames = []
        for shape in data.draw(st.permutations(shapes)):
            seed = data.draw(st.integers(0, 5))
            frames.append(data.draw(st.sampled_from([picture, noise_of]))(seed, shape))
        for sent, arrived in zip(frames, link.cross(*frames), strict=True):
            assert np.array_equal(arrived, sent)


def noise_of(seed: int, shape: Sequence[int]) -> "np.ndarray[Any, Any]":
    return noise(shape, seed)


def test_both_sides_keep_the_same_pictures_within_the_limits() -> None:
    link = Link()
    for step in range(30):
        side = 100 + step % 13
        sent = picture(step, (side, 100, 3))
        assert np.array_equal(link.cross(sent)[0], sent)
        ours, theirs = link.coder._references._images, link.restorer._references._images
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[place], theirs[place]) for place in ours)
        assert len(ours) <= MAX_REFERENCES
    large = [np.zeros((MAX_REFERENCE_BYTES // 3, 1 + step), np.uint8) for step in range(2)]
    for sent in large * 2:
        assert np.array_equal(link.cross(sent)[0], sent)
        held = link.coder._references._images.values()
        assert sum(kept.size for kept in held) <= MAX_REFERENCE_BYTES
        assert link.restorer._references._bytes_beside(NONE) == sum(kept.size for kept in held)


# -- hostile peers -----------------------------------------------------------------------------------------------------

BOMB = b"\xff\xff" + zlib.compress(bytes(BOUND_BYTES), 9)


def jpeg_of(width: int, height: int, mode: str = "RGB", format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, format)
    return struct.pack("<I", file.tell()) + file.getvalue()


def jpeg_that_claims(width: int, height: int) -> bytes:
    data = bytearray(jpeg_of(64, 64))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


BAD_TABLES: dict[str, bytes] = {
    "an entry without its buffer": frame(entry(DEFLATED, LEAST_BYTES)),
    "two entries in a row": frame(entry(DEFLATED, LEAST_BYTES), entry(DEFLATED, LEAST_BYTES), PLAIN_ONES),
    "an unknown kind": frame(entry(3, LEAST_BYTES), PLAIN_ONES),
    "the last kind": frame(entry(127, LEAST_BYTES), PLAIN_ONES),
    "restored to nothing": frame(entry(DEFLATED, 0), PLAIN_ONES),
    "restored to less than is coded": frame(entry(DEFLATED, LEAST_BYTES - 1), PLAIN_ONES),
    "no smaller than what it is restored to": frame(entry(DEFLATED, LEAST_BYTES), ONES),
    "no bytes": frame(entry(DEFLATED, LEAST_BYTES), b""),
    "stored in fewer bytes": frame(entry(STORED, 2 * LEAST_BYTES), ONES),
    "stored in more bytes": frame(entry(STORED, LEAST_BYTES), ONES + b"\0"),
    "beyond the bound": frame(entry(DEFLATED, BOUND_BYTES + 1), PLAIN_ONES),
    "the largest size": frame(entry(DEFLATED, 2**32 - 1), PLAIN_ONES),
    "beyond the bound together": frame(*[entry(DEFLATED, BOUND_BYTES // 2), PLAIN_ONES] * 3),
    "a small buffer that is not coded": frame(entry(DEFLATED, LEAST_BYTES), PLAIN_ONES, b"x"),
    "coded and beyond the bound": frame(entry(STORED, 2**32 - 1), 2**32 - 1),
}
BAD_BUFFERS: dict[str, bytes] = {
    "one byte": frame(entry(DEFLATED, LEAST_BYTES), b"\xff"),
    "places alone": frame(entry(DEFLATED, LEAST_BYTES), b"\xff\xff"),
    "garbage": frame(entry(DEFLATED, LEAST_BYTES), b"\xff\xff" + b"garbage"),
    "a bomb": frame(entry(DEFLATED, len(BOMB) + LEAST_BYTES), BOMB),
    "one byte too many": frame(entry(DEFLATED, LEAST_BYTES), b"\xff\xff" + zlib.compress(ONES + b"\0")),
    "one byte too few": frame(entry(DEFLATED, LEAST_BYTES), b"\xff\xff" + zlib.compress(ONES[1:])),
    "bytes after the end": frame(entry(DEFLATED, LEAST_BYTES), PLAIN_ONES + b"\0"),
    "without its checksum": frame(entry(DEFLATED, LEAST_BYTES), PLAIN_ONES[:-4]),
    "difference to nothing": frame(entry(DEFLATED, LEAST_BYTES), b"\x00\xff" + PLAIN_ONES[2:]),
    "kept beyond the last place": frame(entry(DEFLATED, LEAST_BYTES), bytes([255, MAX_REFERENCES]) + PLAIN_ONES[2:]),
    "no JPEG": frame(entry(JPEG, LEAST_BYTES), struct.pack("<I", 7) + b"garbage"),
    "JPEG of no bytes": frame(entry(JPEG, LEAST_BYTES), struct.pack("<I", 0)),
    "JPEG's length alone": frame(entry(JPEG, LEAST_BYTES), b"\1\0"),
    "JPEG shorter than it says": frame(entry(JPEG, 64 * 64 * 3), b"\xff\xff\0\0" + jpeg_of(64, 64)[4:]),
    "JPEG of fewer pixels": frame(entry(JPEG, 64 * 64 * 3), jpeg_of(64, 63)),
    "JPEG of more pixels": frame(entry(JPEG, 64 * 64 * 3), jpeg_of(64, 65)),
    "two JPEGs for one": frame(entry(JPEG, 64 * 64 * 3), jpeg_of(64, 64) * 2),
    "JPEG that claims 65,535 x 65,535": frame(entry(JPEG, 64 * 64 * 3), jpeg_that_claims(65535, 65535)),
    "JPEG that claims 16 x 256": frame(entry(JPEG, 64 * 64 * 3), jpeg_that_claims(16, 250)),
    "JPEG in grey": frame(entry(JPEG, 96 * 96 * 3), jpeg_of(96, 96, "L")),
    "JPEG for printers": frame(entry(JPEG, 64 * 64 * 4), jpeg_of(64, 64, "CMYK")),
    "a PNG": frame(entry(JPEG, 64 * 64 * 3), jpeg_of(64, 64, format="PNG")),
    "JPEG cut off": frame(entry(JPEG, 64 * 64 * 3), struct.pack("<I", 300) + jpeg_of(64, 64)[4:304]),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_breaks_the_rules_is_refused_before_anything_is_allocated(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            restored(BAD_TABLES[name][: 16 + 8 * 6])  # the table alone shows the error
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", BAD_BUFFERS)
def test_a_coded_buffer_that_is_none_is_a_bad_value(name: str) -> None:
    restored(frame(entry(JPEG, 64 * 64 * 3), jpeg_of(64, 64)))  # loads Pillow now, so that its modules do not count
    tracemalloc.start()
    try:
        with pytest.raises(BadValue):
            restored(BAD_BUFFERS[name])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_difference_to_a_picture_of_another_size_is_a_bad_value() -> None:
    other = b"\x00\x00" + zlib.compress(bytes(LEAST_BYTES + 1))
    with pytest.raises(BadValue, match="which is not there"):
        restored(frame(entry(DEFLATED, LEAST_BYTES), PLAIN_ONES), frame(entry(DEFLATED, LEAST_BYTES + 1), other))


def test_more_than_may_be_kept_is_a_bad_value() -> None:
    size = MAX_REFERENCE_BYTES // MAX_REFERENCES + 1
    ordered = [bytes([NONE, place]) + zlib.compress(bytes(size), 1) for place in range(MAX_REFERENCES)]
    with pytest.raises(BadValue, match="to be kept in place 7"):
        restored(*[frame(entry(DEFLATED, size), data) for data in ordered])


@pytest.mark.parametrize("frames", ["zlib", "jpeg:90"])
@pytest.mark.parametrize("part", range(8))
def test_flipped_bits_are_noticed_or_harmless(frames: str, part: int) -> None:
    """A frame with flipped bits is refused, or yields as many bytes. With zlib it yields only correct bytes."""
    sent = picture(shape=(64, 64, 3))
    coder = image_codec.encoder_for(frames)
    coder.is_on = True
    first, coded = coder.descriptors([sent])
    noticed = 0
    for bit in range(part, 8 * len(coded), 8 * 3 + 1):
        data = bytearray(coded)
        data[bit // 8] ^= 1 << bit % 8
        try:
            (arrived,) = restored(frame(first, bytes(data)))
        except BadValue:
            noticed += 1
        else:
            assert len(arrived) == sent.nbytes
            # The second byte says where the image is stored, which matters only to later images.
            assert frames != "zlib" or arrived == sent.tobytes() or bit // 8 == 1
    assert noticed


@pytest.mark.parametrize("wish", [LENT | 2, LENT | 1 << 40, 2**64 - 1])
def test_a_wish_that_is_none_is_refused_by_the_server(wish: int) -> None:
    decoder = FrameDecoder()
    decoder.image_codec = ImageEncoder(True)
    with pytest.raises(BadFrame, match="means nothing here"):
        feed(decoder, frame(wish))


def test_where_nobody_asked_for_auto_there_is_nothing_to_wish() -> None:
    decoder = FrameDecoder()
    decoder.image_codec = ImageEncoder(False)
    with pytest.raises(BadFrame, match="means nothing here"):
        feed(decoder, frame(LENT))


def test_without_an_agreement_a_coded_buffer_is_beyond_any_bound() -> None:
    with pytest.raises(BadFrame, match="the bound is"):
        feed(FrameDecoder(), frame(entry(STORED, LEAST_BYTES), ONES))


# -- wishes ------------------------------------------------------------------------------------------------------------


class Wishes:
    """Stands for the selector of ``auto``: it asks for what the test sets, and records what it is told."""

    use_codec = True

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def record_transfer(self, *told: Any) -> None:
        self.notes.append(told)


def test_a_wish_goes_with_the_next_call_and_is_followed() -> None:
    selector = Wishes()
    link, sent = Link("auto", selector), picture()
    at_server = FrameDecoder()
    at_server.image_codec = link.coder
    for wish in (True, False, False, True):
        selector.use_codec = wish
        descriptors, notes = link.restorer.compose(())
        if notes is not None:
            notes.settle()  # as if the frame were sent
        call = frame_bytes(1, 1, b"", descriptors)
        got = feed(at_server, b"".join(bytes(piece) for piece in call))
        assert got is not None
        assert got.buffers == []
        assert link.coder.use_codec is wish
        assert np.array_equal(link.cross(sent)[0], sent)
        coded, raw_bytes, coded_bytes, transfer_s, coding_s, _ = selector.notes[-1]
        assert coded is wish
        assert raw_bytes == sent.nbytes
        assert (coded_bytes < raw_bytes) is wish
        assert (coding_s > 0) is wish
        assert transfer_s >= 0
    assert link.restorer.compose(())[0] == ()


def test_a_wish_beside_a_large_action_leaves_it_whole() -> None:
    selector = Wishes()
    link, action = Link("auto", selector), noise((100, 200))
    at_server = FrameDecoder()
    at_server.image_codec = link.coder
    selector.use_codec = False
    call = frame_bytes(1, 1, b"", link.restorer.compose([action])[0])
    got = feed(at_server, b"".join(bytes(piece) for piece in call))
    assert got is not None
    assert [bytes(buffer) for buffer in got.buffers] == [action.tobytes()]
    assert link.coder.use_codec is False
