"""Bytes from a hostile peer: they become a value, a BadValue or a BadFrame, soon and with little memory."""

import os
import pickle
import random
import struct
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import GraphInstance
from hypothesis import given, settings
from hypothesis import strategies as st
from support.crossing import crossed, encoded, feed, received
from support.golden import GOLDEN
from support.hostile import HOSTILE, array, objects
from support.same import same

from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import BadFrame, FrameDecoder, frame_bytes
from gym_service.protocol.values import BadValue

FEW_MB = 3 * 2**20


def read(head: Any, buffers: Any = ()) -> Any:
    reader = ValueDecoder(head, buffers, GraphInstance)
    value = reader.read()
    reader.expect_end()
    return value


@contextmanager
def in_little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < FEW_MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_a_bad_value_in_little_memory(name: str) -> None:
    head = HOSTILE[name]
    for form in (head, bytearray(head), memoryview(head)):
        with in_little_memory(), pytest.raises(BadValue, match="not a value at byte"):
            read(form)


@pytest.mark.parametrize("name", HOSTILE)
def test_so_it_is_inside_a_list_and_as_a_field_among_fields(name: str) -> None:
    with pytest.raises(BadValue):
        read(b"l\x01\0\0\0" + HOSTILE[name])
    reader = ValueDecoder(b"N" + HOSTILE[name])
    assert reader.read() is None
    with pytest.raises(BadValue):
        reader.read()


def test_a_buffer_of_another_size_is_a_bad_value() -> None:
    for size in (12287, 12289):
        with pytest.raises(BadValue, match=f"in a buffer of {size} bytes"):
            read(array(b"|u1", 12288, tag=b"A"), [np.empty(size, np.uint8)])


def test_large_texts_with_characters_that_do_not_exist_are_a_bad_value() -> None:
    with pytest.raises(BadValue, match="characters that do not exist"):
        read(array(b"<U3072", 1, tag=b"A"), [np.full(12288, 255, np.uint8)])


def test_empty_arrays_of_long_texts_take_no_memory() -> None:
    empty = np.zeros((3, 0), "<U9999999")
    head = encoded([empty] * 1000).head
    with in_little_memory():
        assert len(read(head)) == 1000
    assert same(crossed(empty), empty)


def test_what_a_head_becomes_is_bounded_by_its_length() -> None:
    """The densest values that exist: a few bytes must not become many objects."""
    for item in (b"N", b"l\0\0\0\0", b"e\0\0\0\0", b"d\0\0\0\0", b"d\x01\0\0\0NN", array(b"|u1", 0), objects(0)):
        count = 20_000
        head = b"l" + struct.pack("<I", count) + item * count
        tracemalloc.start()
        try:
            read(head)
            assert tracemalloc.get_traced_memory()[1] < 100_000 + 60 * len(head)
        finally:
            tracemalloc.stop()


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_a_value_or_a_bad_value(head: bytes) -> None:
    value_or_bad(head)


@given(st.lists(st.sampled_from(b"NTFiIfcsubvxltezgdnaAoEUCpqyrwkS") | st.sampled_from(bytes(8)) | st.integers(0, 255)))
@settings(max_examples=300, deadline=None)
def test_likely_bytes_are_a_value_or_a_bad_value(head: list[int]) -> None:
    value_or_bad(bytes(head))


@given(st.binary(max_size=100))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_are_no_frame_or_not_yet_one(data: bytes) -> None:
    frame_or_bad(data)
    frame_or_bad(b"gS\x04" + data)
    frame_or_bad(b"gS\x04" + data[:5].ljust(5) + struct.pack("<II", len(data) % 7, len(data) % 3) + data)


def value_or_bad(head: Any, buffers: Any = ()) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = read(head, buffers)
        except BadValue:
            return
        with suppress(OverflowError):  # numpy has dates that it cannot print
            repr(value)
        again = Encoder().add(value, opaque=True)
        assert not again.replaced
        with np.errstate(all="ignore"):
            assert same(read(again.head, received(again.buffers)), value)


def frame_or_bad(data: bytes) -> None:
    decoder = FrameDecoder()
    try:
        frame = feed_all(decoder, data)
    except BadFrame:
        return
    if frame is not None:
        value_or_bad(frame.head, frame.buffers)


def feed_all(decoder: FrameDecoder, data: bytes) -> Any:
    size = min(len(data), len(decoder.next_buffer()))
    return feed(decoder, data[:size])


def test_random_bit_flips_of_valid_frames() -> None:
    chance = random.Random(int(os.environ.get("GYM_SERVICE_FUZZ_SEED", "1")))
    frames = [b"".join(frame_bytes(66, 7, head, buffers)) for _, head, buffers in GOLDEN.values()]
    for _ in range(int(os.environ.get("GYM_SERVICE_FUZZ_ROUNDS", "10000"))):
        frame = bytearray(chance.choice(frames))
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            frame[chance.randrange(min(len(frame), 200))] ^= 1 << chance.randrange(8)
        frame_or_bad(bytes(frame))


class Marker:
    """An object whose unpickling would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_has_no_effect_wherever_it_stands(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickled = pickle.dumps(Marker(marker), protocol)
    with pytest.raises(BadFrame):
        feed(FrameDecoder(), pickled)
    value_or_bad(pickled)
    assert same(crossed(pickled), pickled)
    text = pickled.decode("latin-1")
    assert same(crossed({text: [text]}), {text: [text]})
    inside = np.array([pickled, None], object)
    assert same(crossed(inside), inside)
    saved = np.frombuffer(pickled, np.uint8)
    assert same(crossed(saved), saved)
    for dtype in (b"|O", b"|O8"):
        value_or_bad(array(dtype, 1) + pickled)
        value_or_bad(array(dtype, 1, tag=b"A"), [np.frombuffer(pickled, np.uint8)])
    assert not marker.exists()
    pickle.loads(pickled)
    assert marker.exists(), "the pickle itself is harmless, and this test would pass for nothing"
