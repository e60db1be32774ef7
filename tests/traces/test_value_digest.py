"""Digests: equal exactly if the wire treats two values as the same, in every Python and numpy."""

import datetime
import threading
from collections import OrderedDict, deque, namedtuple
from enum import Enum, IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from support.crossing import crossed, values_of
from support.golden import GOLDEN, nan
from support.in_target_runs import FLOOR_AND_CEILING, run
from support.same import difference
from support.strategies import VALUES

from gym_service.protocol import value_digest
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.value_digest import KEPT_BYTES, MARK_BYTES, RollingDigest, canonical_bytes

MANY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
PICTURE = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)


class Color(IntEnum):
    RED = 1
    BLUE = 2


class Lock(Enum):
    ONE = threading.Lock()


class Stamp(datetime.datetime):
    pass


Point = namedtuple("Point", "x y")


def with_itself() -> list[Any]:
    values: list[Any] = [1]
    values.append(values)
    return values


# Values that the wire changes, but whose digest stays the same: the originals, as in the simulator.
CROSSING: dict[str, Any] = {
    "an OrderedDict": OrderedDict(b=1, a=2),
    "a namedtuple": Point(1, 2.5),
    "an IntEnum": Color.RED,
    "an Enum class": Color,
    "an Enum of objects": Lock.ONE,
    "a subclass of datetime": Stamp(2026, 1, 2),
    "a datetime of a zone of its own": datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")),
    "a deque": deque([1, Color.RED], 3),
    "a bytearray": bytearray(b"a"),
    "a range": range(3),
    "a strided array": np.arange(20000, dtype=np.float64).reshape(100, 200)[::2, ::-3],
    "a Fortran array": np.asfortranarray(PICTURE),
    "a lock": {"deep": [threading.Lock()]},
    "a masked array": np.ma.masked_array([1, 2], [True, False]),
    "a structured array": np.zeros(3, [("a", "i4"), ("b", "f8")]),
    "a structured scalar": np.zeros(3, [("a", "i4")])[0],
    "a key without a form": {Point: 1},
    "a list in itself": with_itself(),
    "a subclass of array": np.rec.array([1.5, 2.5]),
}


@pytest.mark.parametrize("name", CROSSING)
def test_what_crosses_has_the_digest_of_what_was_sent(name: str) -> None:
    encoder = Encoder().add(CROSSING[name], "$", opaque=True)
    (arrived,) = values_of(encoder.head, encoder.buffers, 1)
    assert canonical_bytes(arrived) == canonical_bytes(CROSSING[name])


@given(VALUES)
@MANY
def test_any_value_has_the_digest_of_what_arrives_of_it(value: Any) -> None:
    assert canonical_bytes(crossed(value)) == canonical_bytes(value)


@given(VALUES, VALUES)
@MANY
def test_two_values_share_their_bytes_only_where_they_are_the_same(left: Any, right: Any) -> None:
    # For an Opaque the type counts, but not its text.
    assert canonical_bytes(left) != canonical_bytes(right) or not difference(left, right) or "paque(" in repr(left)


def test_values_of_different_kinds_differ() -> None:
    values: list[Any] = [row[0] for row in GOLDEN.values()]
    values += [(1,), (1.0,), (True,), (np.float32(1),), (np.int64(1),), (np.array(1),), (np.array([1]),), ("1",)]
    values += [
        (b"1",),
        (np.str_("1"),),
        ([1],),
        ({1},),
        (frozenset([1]),),
        ({1: None},),
        (0.0,),
        (nan("01" + "00" * 5 + "f8ff"),),
    ]
    values += [({"a": 1, "b": 2},), ({"b": 2, "a": 1},), (PICTURE,), (PICTURE[:, :, ::-1],), (PICTURE.reshape(-1),)]
    values += [(PICTURE.view(np.int8),), (PICTURE.astype(np.int64),), ([[], []],), ([[[]]],), ([[]],), (("ab", "c"),)]
    values += [(("a", "bc"),), (np.arange(1024.0),), (np.arange(1024.0).astype(">f8"),)]
    seen: dict[bytes, Any] = {}
    for value in values:
        other = seen.setdefault(canonical_bytes(value), value)
        assert not difference(other, value), (other, value)


@pytest.mark.parametrize("at", [0, 1, 2047, 2048, 500_000, 921_599])
@pytest.mark.parametrize("change", [1, 128, 255])
def test_one_changed_byte_of_a_picture_changes_its_digest(at: int, change: int) -> None:
    changed = PICTURE.copy().reshape(-1)
    changed[at] ^= change
    assert canonical_bytes(changed.reshape(PICTURE.shape)) != canonical_bytes(PICTURE)


def test_moved_rows_and_bytes_beyond_the_last_row_change_the_digest() -> None:
    words = np.arange(3 * 256, dtype=np.uint64).reshape(3, 256)
    assert len({canonical_bytes(words[list(order)]) for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1))}) == 4
    with_tail = np.zeros(8192 + 5, np.uint8)
    changed = with_tail.copy()
    changed[-1] = 1
    assert canonical_bytes(changed) != canonical_bytes(with_tail)


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_a_target_computes_the_same(target: str) -> None:
    values: list[Any] = [list(row[0]) for name, row in GOLDEN.items() if name != "space"]
    values += [
        PICTURE,
        PICTURE[1:, ::2],
        np.arange(3001.0),
        np.longdouble(1) / 3,
        np.arange(999, dtype=np.longdouble) / 7,
    ]
    values += [np.array(["ü" * 3000]), {3, 1, 2}, {"a": [1, (2.5, None)]}, 2**70]
    assert run(target, "digest", sent=values) == [canonical_bytes(value) for value in values]


def test_the_digest_is_of_all_calls_in_their_order() -> None:
    def digest(*calls: tuple[bytes, tuple[Any, ...]]) -> bytes:
        rolling = RollingDigest()
        for call, results in calls:
            rolling.add(call, results)
        return rolling.value

    plays = [(), ((b"reset", (1, {})),), ((b"step", (1, {})),), ((b"reset", (1, {})), (b"step", (2,)))]
    plays += [((b"step", (2,)), (b"reset", (1, {}))), ((b"step", (2, 3)),), ((b"step", (2,)), (b"step", (3,)))]
    assert len({digest(*play) for play in plays}) == len(plays)
    assert digest(*plays[3]) == digest(*plays[3])


def test_a_summary_says_which_result_differs_and_keeps_the_small_ones() -> None:
    observation = np.zeros(64, np.float32)
    left, right = RollingDigest(), RollingDigest()
    one, other = left.add(b"step", (observation, 1.0, {})), right.add(b"step", (observation, 2.0, {}))
    assert one[:MARK_BYTES] == left.value[:MARK_BYTES]
    check = MARK_BYTES + 5  # a zero, and four bytes
    assert one[MARK_BYTES:check] == other[MARK_BYTES:check]
    assert one[check:].startswith(b"\x09" + canonical_bytes(1.0))
    assert other[check:].startswith(b"\x09" + canonical_bytes(2.0))
    assert len(canonical_bytes(observation)) > KEPT_BYTES


def test_the_weights_are_those_of_the_documents() -> None:
    """splitmix64 of the index, as in docs/trace-format.md, implemented here independently."""
    mask = 2**64 - 1

    def weight(index: int) -> int:
        mixed = index * 0x9E3779B97F4A7C15 & mask
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
        return (mixed ^ mixed >> 31) | 1

    assert value_digest._weights(5).tolist() == [weight(index) for index in range(1, 6)]
    rows = np.random.default_rng(2).integers(0, 2**64, (450, 256), np.uint64)
    sums = [sum(weight(at + 1) * int(rows[at, column]) for at in range(450)) & mask for column in (0, 100, 255)]
    fold = np.frombuffer(value_digest._fold(rows), "<u8")
    assert [int(fold[column]) for column in (0, 100, 255)] == sums
