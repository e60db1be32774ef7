"""Tests of ``support.same`` itself: what it must distinguish, since every other test of the wire relies on it."""

import struct
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from support.same import difference, same

QUIET_NAN, OTHER_NAN = struct.unpack("<dd", bytes.fromhex("000000000000f87f 010000000000f8ff"))

DIFFERENT: list[tuple[Any, Any]] = [
    (1, True),
    (1, 1.0),
    (1, np.int64(1)),
    (np.int64(1), np.int32(1)),
    (0.0, -0.0),
    (QUIET_NAN, OTHER_NAN),
    (complex(0.0, -0.0), complex(0.0, 0.0)),
    ("a", b"a"),
    ("a", np.str_("a")),
    ([1], (1,)),
    ([1, 2], [1]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1}, {"a": 1.0}),
    ({1: 0}, {True: 0}),
    ({}, OrderedDict()),
    ({1}, {True}),
    ({(1, 0.0)}, {(1, -0.0)}),
    (frozenset({1}), {1}),
    (np.zeros(2, "<f4"), np.zeros(2, ">f4")),
    (np.zeros(2), np.zeros((2, 1))),
    (np.zeros(2), -np.zeros(2)),
    (np.zeros((0, 2)), np.zeros((0, 3))),
    (np.array([1, None], object), np.array([1.0, None], object)),
    (np.zeros(2).view(np.matrix), np.zeros((1, 2))),
    (np.longdouble(0), np.longdouble(-0.0)),
    (np.datetime64(1, "s"), np.datetime64(1, "ms")),
    (np.ones(1, np.clongdouble), np.ones(1, np.clongdouble) * 1j),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT, ids=repr)
def test_what_differs_in_any_way_is_not_the_same(left: Any, right: Any) -> None:
    assert difference(left, right)
    assert difference([left], [right]).startswith("$[0]")
    assert same(left, left)
    assert same(right, right)
    with pytest.raises(AssertionError, match=r"\$"):
        same({"key": left}, {"key": right})


def test_sets_are_the_same_in_any_order_and_with_nans() -> None:
    assert same({1, "b", (QUIET_NAN, frozenset("xy"))}, {(QUIET_NAN, frozenset("yx")), "b", 1})


def test_nans_that_are_keys_are_compared_by_their_place() -> None:
    left, right = {QUIET_NAN: 1, OTHER_NAN: 2}, {float(repr(QUIET_NAN)): 1, OTHER_NAN: 2}
    assert same(left, right)
    assert difference(left, {**right, OTHER_NAN: 3})


def test_strides_do_not_count() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert same(array, np.asfortranarray(array))
    assert same(array[::-1], array[::-1].copy())
