"""The golden table in both directions, also as frames and byte by byte; and values that cross as a base type."""

import math
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
from support.crossing import crossed, encoded, feed, values_of
from support.golden import GOLDEN
from support.same import same

from gym_service.protocol import decoder
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import _PUT, Encoder
from gym_service.protocol.frames import FrameDecoder, frame_bytes


@pytest.mark.parametrize("name", GOLDEN)
def test_values_become_these_bytes(name: str) -> None:
    values, head, buffers = GOLDEN[name]
    encoder = encoded(*values)
    assert bytes(encoder.head) == head
    assert [bytes(buffer) for buffer in encoder.buffers] == buffers
    assert encoder.size_bytes == len(head) + sum(map(len, buffers))


@pytest.mark.parametrize("name", GOLDEN)
def test_these_bytes_become_the_values(name: str) -> None:
    values, head, buffers = GOLDEN[name]
    assert same(values_of(head, buffers, len(values)), list(values))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_frame_fed_byte_by_byte_becomes_the_values(name: str) -> None:
    values, head, buffers = GOLDEN[name]
    data = b"".join(frame_bytes(66, 7, head, buffers))
    decoder = FrameDecoder()
    for index in range(len(data) - 1):
        assert feed(decoder, data[index : index + 1]) is None
        assert not decoder.at_boundary
    frame = feed(decoder, data[-1:])
    assert frame is not None
    assert decoder.at_boundary
    assert (frame.kind, frame.call_id) == (66, 7)
    assert same(values_of(frame.head, frame.buffers, len(values)), list(values))


@pytest.mark.parametrize("name", GOLDEN)
def test_truncated_bytes_are_no_values(name: str) -> None:
    values, head, buffers = GOLDEN[name]
    for size in range(len(head)):
        with pytest.raises(decoder.BadValue):
            values_of(head[:size], buffers, len(values))
    with pytest.raises(decoder.BadValue, match="left over"):
        values_of(head + b"N", buffers, len(values))
    with pytest.raises(decoder.BadValue):
        values_of(head, [*buffers, bytes(12288)], len(values))


def test_the_table_holds_every_tag_and_every_type() -> None:
    # An array of another library is not in the table, since it arrives as another value.
    assert {head[0] for _, head, _ in GOLDEN.values() if head} == set(decoder._READ) - {ord("D")}
    types = {type(value) for values, _, _ in GOLDEN.values() for value in values}
    missing = set(_PUT) - types
    # Long doubles have other bytes on other machines, and longlong is a second name for int64's dtype.
    assert missing == {np.longdouble, np.clongdouble, np.longlong, np.ulonglong}


class Stack:
    """An array-like that belongs to no framework."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1, 2], np.uint8)


class Exported(Stack):
    """An array-like of a framework."""

    def __dlpack__(self) -> None:
        raise RuntimeError("not asked: it has an __array__ too")


def test_an_array_of_another_library_becomes_these_bytes() -> None:
    array = b"a\x03\0\0\0|u1\x01\x02\0\0\0\0\0\0\0\x01\x02"
    for value, flags in ((Stack(), 0), (Exported(), 1)):
        label = f"{__name__}.Stack" if not flags else __name__.split(".")[0]
        head = b"D%cs" % flags + len(label).to_bytes(4, "little") + label.encode() + array
        assert bytes(encoded(value).head) == head
        assert same(values_of(head, (), 1), [np.array([1, 2], np.uint8)])
        for size in range(len(head)):
            with pytest.raises(decoder.BadValue):
                values_of(head[:size], (), 1)


class Word(str):
    def encode(self, *args: Any) -> bytes:  # type: ignore[override]
        raise RuntimeError("not asked")


class Liar(list):
    def __len__(self) -> int:
        return 5


class Proxy:
    """Like a lazily loaded object: it claims to be a list."""

    @property
    def __class__(self) -> type:
        raise RuntimeError("not asked")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("not asked")


class Level(int):
    def __int__(self) -> int:
        return -1

    def __pos__(self) -> int:
        return -2


class Window(deque):
    pass


class Buffer(bytearray):
    def __len__(self) -> int:
        return 1


class Short(bytes):
    def __len__(self) -> int:
        return 1


class Scalar(np.float32):
    pass


CROSSES_AS: list[tuple[Any, Any]] = [
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (defaultdict(list, a=1), {"a": 1}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (Word("w"), "w"),
    (Level(7), 7),
    (Level(2**70), 2**70),
    (Short(b"abc"), b"abc"),
    (Window([1], 2), deque([1], 2)),
    (Buffer(b"abc"), bytearray(b"abc")),
    (Liar([1]), [1]),
    (Scalar(1.5), np.float32(1.5)),
    (np.longlong(5), np.int64(5)),
    (np.array([[1, 2]]).view(np.matrix), np.array([[1, 2]])),
    (np.arange(6)[::-2], np.array([5, 3, 1])),
    (np.arange(6.0).reshape(2, 3).T, np.array([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])),
    (np.broadcast_to(np.int8(3), (2, 2)), np.full((2, 2), 3, "i1")),
    (np.arange(2**13, dtype=">i4")[::-1], np.arange(2**13 - 1, -1, -1).astype(">i4")),
    (np.asfortranarray(np.arange(8192).reshape(64, 128)), np.arange(8192).reshape(64, 128)),
    (np.zeros((64, 64)).view(np.matrix), np.zeros((64, 64))),
]


@pytest.mark.parametrize(("value", "expected"), CROSSES_AS, ids=lambda value: type(value).__name__)
def test_a_subclass_crosses_as_the_type_below_it(value: Any, expected: Any) -> None:
    assert same(crossed(value), expected)


def test_a_proxy_that_raises_when_asked_for_its_class_is_refused_and_no_more() -> None:
    encoder = Encoder().add({"lazy": Proxy()}, "$.info", opaque=True)
    assert encoder.replaced == [("$.info['lazy']", f"{__name__}.Proxy")]


@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
def test_long_doubles_keep_every_digit(dtype: type) -> None:
    third = dtype(1) / dtype(3)
    assert third != dtype(complex(third) if dtype is np.clongdouble else float(third)) or np.finfo(dtype).bits == 64
    assert same(crossed(third), third)
    assert same(crossed(np.array([third, -0.0, math.inf])), np.array([third, -0.0, math.inf]))


@pytest.mark.parametrize("value", [2**64, -(2**1000), 10**400, -(2**71), 2**71 - 1])
def test_integers_have_no_size(value: int) -> None:
    assert same(crossed(value), value)


def test_every_array_is_new_memory_of_its_own() -> None:
    one = np.arange(4)
    many = crossed([one, one, PAGE_SIZED, PAGE_SIZED, np.zeros(0), np.array(1.5)])
    for array in many:
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert array.flags.aligned
    for index, array in enumerate(many):
        assert not any(np.shares_memory(array, other) for other in [*many[:index], *many[index + 1 :], one, PAGE_SIZED])


PAGE_SIZED = np.arange(512.0)


def test_a_graph_without_its_class_is_a_tuple() -> None:
    _, head, buffers = GOLDEN["graph"]
    assert type(ValueDecoder(head, buffers).read()) is tuple


def test_the_deepest_nesting_crosses_and_one_more_level_does_not() -> None:
    value: Any = 0
    for _ in range(100):
        value = [value]
    assert same(crossed(value), value)
    with pytest.raises(Exception, match="nested deeper than 100 levels"):
        encoded([value])
