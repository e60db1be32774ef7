"""Small arrays in the general form: the same bytes and values as by the encoder and the decoder, or None."""

from typing import Any

import numpy as np
import pytest

from gym_service.protocol import plain_arrays
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.plain_arrays import ArrayReader, ArrayWriter


class OwnBytes(np.int64):
    """A subclass that says something else of itself."""

    def tobytes(self, *args: Any) -> bytes:
        return b""


ARRAYS = [
    np.zeros(3, np.float32),
    np.array([np.nan, -0.0, np.inf]),
    np.array(7, np.int32),
    np.arange(12, dtype=np.int16).reshape(3, 4).T,
    np.arange(12)[::-2],
    np.array([True, False]),
    np.zeros((2, 1, 3), ">f8") + 1.5,
    np.zeros(2, np.complex64) + 1j,
    np.zeros(5, np.float16),
    np.zeros(4095, np.uint8),
]
SCALARS = [np.int64(-5), np.uint8(200), np.int32(2**31 - 1)]
OTHER: list[Any] = [
    1,
    True,
    None,
    [1.0],
    np.float64(1),
    np.bool_(True),
    np.str_("x"),
    np.zeros(0),
    np.zeros(12288, np.uint8),
    np.array(["x"]),
    np.array([None]),
    np.zeros(2, "M8[s]"),
    np.timedelta64(3, "s"),
    OwnBytes(3),
    np.zeros(2, np.longdouble),
    np.zeros(2, [("x", "f4")]),
    np.ma.masked_array([1.0]),
    np.rec.array([(1,)], dtype=[("x", "i4")]),
    np.asmatrix(np.zeros((1, 2))) if hasattr(np, "asmatrix") else None,
]


def general(value: Any) -> bytes:
    return bytes(Encoder().add(value).head)


def test_the_bytes_are_those_of_the_encoder() -> None:
    writer = ArrayWriter()
    for value in 2 * [*ARRAYS, *SCALARS]:
        assert writer.write(value) == general(value)


@pytest.mark.parametrize("value", OTHER, ids=repr)
def test_anything_else_is_left_to_the_encoder(value: Any) -> None:
    writer = ArrayWriter()
    assert writer.write(value) is None
    assert writer.write(value) is None


def test_values_that_change_their_shape_do_not_grow_the_table() -> None:
    writer = ArrayWriter()
    written = [writer.write(np.zeros(size + 1)) for size in range(plain_arrays.MOST_KINDS + 3)]
    assert [each is None for each in written] == [False] * plain_arrays.MOST_KINDS + [True] * 3


def test_each_array_comes_back_as_the_decoder_reads_it() -> None:
    memory = memoryview(bytearray(65536))
    reader = ArrayReader(memory, 16)
    for array in [each for known in ARRAYS for each in (known, known, np.roll(known, 1))]:
        whole = general(array)
        memory[16 : 16 + len(whole)] = whole
        found, expected = reader.read(len(whole)), ValueDecoder(whole, (), None).read()
        memory[:] = bytes(65536)
        assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
        assert (found.flags.writeable, found.flags.owndata) == (True, True)


@pytest.mark.parametrize("value", [*SCALARS, 1, None, "a", {"a": 1}, [np.zeros(3)], np.array([None, 1])], ids=repr)
def test_other_values_are_left_to_the_decoder(value: Any) -> None:
    whole = general(value)
    assert ArrayReader(memoryview(bytearray(whole)), 0).read(len(whole)) is None


def test_further_arguments_and_spoilt_bytes_are_left_to_the_decoder() -> None:
    whole = general(np.arange(3.0))
    more = bytes(Encoder().add(np.arange(3.0)).add(()).add({}).head)
    memory = memoryview(bytearray(len(more) + 16))
    reader = ArrayReader(memory, 0)
    for known in (False, True):  # whether it has read such an array before
        memory[: len(more)] = more
        assert reader.read(len(more)) is None
        for size_bytes in range(len(whole)):
            assert reader.read(size_bytes) is None
        for at in range(len(whole) - 24):
            memory[: len(more)] = more
            memory[at] ^= 0xFF
            found = reader.read(len(whole))
            assert found is None or found.tobytes() != whole, (known, at)
            if found is not None:  # a spoilt dtype or shape that is one all the same: as the decoder reads it
                expected = ValueDecoder(bytes(memory[: len(whole)]), (), None).read()
                assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        memory[: len(whole)] = whole
        assert reader.read(len(whole)).tolist() == [0.0, 1.0, 2.0]
