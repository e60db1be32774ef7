"""Layouts: values that fit come back exactly, others take the general path, and too few bytes are refused."""

import enum
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Space, Tuple
from support.crossing import crossed, received
from support.same import same
from support.spaces import CANNOT_SAMPLE, SPACES

from gym_service.protocol.layout import Layout, compile_layout
from gym_service.protocol.space_spec import describe
from gym_service.protocol.values import LARGE_BYTES, BadValue

NO_FIXED_SIZE = {
    "text",
    "text with its own characters",
    "text with a set of characters",
    "sequence",
    "stacked sequence",
    "sequence of dicts",
    "graph",
    "graph with edges",
    "one of",
    "nested without a fixed size",
}


def both_layouts(space: Space[Any]) -> tuple[Layout, Layout]:
    """The server's layout, from its own description, and the client's, from the description that arrived."""
    description = describe(space, "$")
    return compile_layout(description), compile_layout(crossed(description))


def packed(layout: Layout, value: Any) -> tuple[bytearray, list[Any]] | None:
    head, buffers = bytearray(b"before"), []
    has_fitted = layout.pack(value, head, buffers)
    pack = layout.packer(b"before")
    assert (pack is None) == (layout.buffer_count > 0)
    if pack is not None:
        assert pack(value) == (bytes(head) if has_fitted else None)
    return (head, received(buffers)) if has_fitted else None


@pytest.mark.parametrize("name", SPACES)
def test_a_space_of_fixed_size_has_a_layout_and_no_other(name: str) -> None:
    for layout in both_layouts(SPACES[name]):
        assert (layout is None) == (name in NO_FIXED_SIZE)


@pytest.mark.parametrize("name", sorted(set(SPACES) - NO_FIXED_SIZE - CANNOT_SAMPLE))
def test_samples_come_back_exactly(name: str) -> None:
    ours, theirs = both_layouts(SPACES[name])
    for _ in range(3):
        sample = SPACES[name].sample()
        result = packed(ours, sample)
        assert result is not None, "a sample of the space itself must fit"
        head, buffers = result
        assert len(head) == len(b"before") + ours.head_bytes
        assert len(buffers) == ours.buffer_count
        assert ours.size_bytes == ours.head_bytes + sum(map(len, buffers))
        arrived = theirs.unpack(memoryview(head), 6, buffers)
        assert same(arrived, crossed(sample)), "the general path gives something else"
        assert "OrderedDict" in repr(sample) or same(arrived, sample)


@pytest.mark.parametrize("name", sorted(set(SPACES) - NO_FIXED_SIZE - CANNOT_SAMPLE))
def test_short_bytes_are_a_bad_value(name: str) -> None:
    ours, theirs = both_layouts(SPACES[name])
    result = packed(ours, SPACES[name].sample())
    assert result is not None
    head, buffers = result
    if ours.head_bytes:
        for size in (0, 5, 6, len(head) - 1):
            with pytest.raises(BadValue):
                theirs.unpack(head[:size], 6, buffers)
    for index in range(len(buffers)):
        with pytest.raises(BadValue):
            theirs.unpack(head, 6, buffers[:index])
        with pytest.raises(BadValue):
            theirs.unpack(head, 6, [*buffers[:index], buffers[index][:-1], *buffers[index + 1 :]])


def test_large_leaves_are_buffers_and_small_ones_lie_in_the_head() -> None:
    small, large = Box(-1, 1, (LARGE_BYTES // 4 - 1,), np.float32), Box(-1, 1, (LARGE_BYTES // 4,), np.float32)
    layout, _ = both_layouts(Tuple([small, large, small, large]))
    assert (layout.head_bytes, layout.buffer_count) == (2 * (LARGE_BYTES - 4), 2)
    values = tuple(np.full(box.shape, n, np.float32) for n, box in enumerate([small, large, small, large]))
    head, buffers = bytearray(), []
    assert layout.pack(values, head, buffers)
    assert np.shares_memory(buffers[0], values[1])
    buffers = received(buffers)
    arrived = layout.unpack(head, 0, buffers)
    assert same(arrived, values)
    assert np.shares_memory(arrived[3], buffers[1])


def test_small_arrays_are_new_memory() -> None:
    layout, _ = both_layouts(Tuple([Box(-1, 1, (3,)), Box(-1, 1, (0,)), Box(-1, 1, ())]))
    head = bytearray(layout.head_bytes)
    for array in layout.unpack(memoryview(head), 0, []):
        assert not np.shares_memory(array, np.frombuffer(head, np.uint8))
        assert array.flags.writeable
        assert array.flags.aligned


class Action(enum.IntEnum):
    LEFT = 1


BOX = Box(-1, 1, (2, 3), np.float32)
TRUE = np.zeros((2, 3), np.float32)
PAIR = Dict({"a": Discrete(3), "b": BOX})
LARGE = Box(0, 255, (96, 128), np.uint8)
DOES_NOT_FIT: list[tuple[Space[Any], Any]] = [
    (BOX, TRUE.astype(np.float64)),
    (BOX, TRUE.astype(">f4")),
    (BOX, TRUE.reshape(3, 2)),
    (BOX, TRUE[None]),
    (BOX, TRUE.view(np.matrix)),
    (BOX, np.ma.masked_array(TRUE)),
    (BOX, TRUE.tolist()),
    (BOX, None),
    (BOX, TRUE.astype(object)),
    (Box(-1, 1, ()), np.float32(0.5)),
    (Box(-1, 1, ()), 0.5),
    (LARGE, np.zeros((96, 128), np.int8)),
    (LARGE, np.zeros((64, 65), np.uint8)),
    (LARGE, np.zeros((96, 128), np.uint8).view(np.matrix)),
    (Discrete(3), True),
    (Discrete(3), np.int32(1)),
    (Discrete(3), np.array(1)),
    (Discrete(3), Action.LEFT),
    (Discrete(3), 1.0),
    (Discrete(3), 2**63),
    (Discrete(3), -(2**63) - 1),
    (Discrete(3), None),
    (MultiBinary(2), np.zeros(2, np.bool_)),
    (Tuple([BOX, BOX]), [TRUE, TRUE]),
    (Tuple([BOX, BOX]), (TRUE,)),
    (Tuple([BOX, BOX]), (TRUE, TRUE, TRUE)),
    (Tuple([BOX, BOX]), (TRUE, TRUE[0])),
    (PAIR, {"b": TRUE, "a": 1}),
    (PAIR, {"a": 1, "b": TRUE, "c": 0}),
    (PAIR, {"a": 1}),
    (PAIR, {"a": 1, "b": None}),
    (PAIR, OrderedDict(b=TRUE, a=1)),
    (PAIR, defaultdict(None, {"a": 1, "b": TRUE})),
    (PAIR, {np.str_("a"): 1, "b": TRUE}),
    (Dict([(1, Discrete(3))]), {True: 1}),
    (Dict([(1, Discrete(3))]), {1.0: 1}),
]


@pytest.mark.parametrize(("space", "value"), DOES_NOT_FIT, ids=lambda part: repr(part).replace("\n", "")[:40])
def test_what_does_not_fit_exactly_is_not_packed(space: Space[Any], value: Any) -> None:
    layout, _ = both_layouts(space)
    assert packed(layout, value) is None


FITS: list[tuple[Space[Any], Any]] = [
    (BOX, np.asfortranarray(TRUE + np.arange(3, dtype=np.float32))),
    (BOX, np.arange(12, dtype=np.float32).reshape(2, 6)[::-1, ::-2]),
    (BOX, np.full((2, 3), np.nan, np.float32)),
    (BOX, np.full((2, 3), 99, np.float32)),
    (LARGE, np.asfortranarray(np.arange(12288).astype(np.uint8).reshape(96, 128))),
    (LARGE, np.arange(12288).astype(np.uint8).reshape(96, 128)[::-1]),
    (Discrete(3), 1),
    (Discrete(3), np.int64(1)),
    (Discrete(3), 99),
    (Discrete(3), 2**63 - 1),
    (Discrete(3), -(2**63)),
    (PAIR, {"a": np.int64(2), "b": TRUE}),
]


@pytest.mark.parametrize(("space", "value"), FITS, ids=lambda part: repr(part).replace("\n", "")[:40])
def test_what_fits_comes_back_exactly_wherever_it_lay(space: Space[Any], value: Any) -> None:
    ours, theirs = both_layouts(space)
    result = packed(ours, value)
    assert result is not None
    assert same(theirs.unpack(result[0], 6, result[1]), value)


def test_an_ordered_dict_is_packed_as_the_dict_that_it_crosses_as() -> None:
    ours, theirs = both_layouts(PAIR)
    result = packed(ours, OrderedDict(a=1, b=TRUE))
    assert result is not None
    assert same(theirs.unpack(result[0], 6, result[1]), {"a": 1, "b": TRUE})


def box(**changes: Any) -> dict[str, Any]:
    return {**describe(BOX, "$"), **changes}


HOSTILE = {
    "negative shape": box(shape=(-1, 2)),
    "negative shapes": box(shape=(-2, -2)),
    "shape of floats": box(shape=(2.0,)),
    "shape of numpy's": box(shape=(np.int64(2),)),
    "too many dimensions": box(shape=(1,) * 33),
    "no shape": {"kind": "Box", "dtype": "<f4"},
    "no dtype": {"kind": "Box", "shape": (2,)},
    "no kind": {},
    "kind of another type": {"kind": []},
    "dtype that is no text": box(dtype=4),
    "tuple of numbers": {"kind": "Tuple", "spaces": [1]},
    "dict of spaces": {"kind": "Dict", "spaces": [box()]},
    "dict of unhashable keys": {"kind": "Dict", "spaces": [([], box())]},
    "no dict at all": None,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_space_is_a_bad_value(name: str) -> None:
    with pytest.raises(BadValue, match="not a"):
        compile_layout(HOSTILE[name])


@pytest.mark.parametrize("dtype", ["|O", "|V8", "<i4,<i4", "<M8[0s]", "<x9"])
def test_dtypes_that_cannot_cross_have_no_layout(dtype: str) -> None:
    """Above all objects: making an array of them from bytes would follow addresses that the peer chooses."""
    assert compile_layout(box(dtype=dtype)) is None
    assert compile_layout({"kind": "Discrete", "n": 1, "start": 0, "dtype": dtype}) is None


@pytest.mark.parametrize("shape", [(2**31 + 1,), (2**40,), (2**32, 2**32)])
def test_a_size_that_no_simulator_has_gets_no_layout(shape: tuple[int, ...]) -> None:
    assert compile_layout(box(shape=shape, dtype="|u1")) is None


@pytest.mark.parametrize(("dtype", "value"), [("|i1", 128), ("|i1", -129), ("|u1", -1), ("<u8", -1), ("<i4", 2**31)])
def test_an_integer_that_its_dtype_cannot_hold_is_a_bad_value(dtype: str, value: int) -> None:
    layout = compile_layout({"kind": "Discrete", "n": 5, "start": 0, "dtype": dtype})
    with pytest.raises(BadValue, match="is no"):
        layout.unpack(b"\x01" + value.to_bytes(8, "little", signed=True), 0, [])
    assert layout.unpack(b"\0" + value.to_bytes(8, "little", signed=True), 0, []) == value
