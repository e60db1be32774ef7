"""What a result consists of: values like it come back as they were, others do not fit; a peer may say anything."""

import copy
import functools
import struct
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from support.crossing import crossed, received
from support.same import same

from gym_service.protocol.encoder import Packed
from gym_service.protocol.form_layout import MAX_NESTING, MAX_PARTS, MAX_TEXT_CHARS, compile_form, spec_of
from gym_service.protocol.values import BadValue

NAN = struct.unpack("<d", bytes.fromhex("010000000000f87f"))[0]  # with a payload

# A value, and others that have the same form.
ALIKE: dict[str, tuple[Any, ...]] = {
    "float": (0.5, -0.0, NAN, float("inf")),
    "int": (1, -(2**63), 2**63 - 1),
    "bool": (True, False),
    "none": (None,),
    "text": ("success", "".join(["suc", "cess"])),
    "an odd text": ("\udc80é",),
    "numpy float": (np.float64(1), np.float64(NAN), np.float64(-0.0)),
    "numpy float32": (np.float32(1.5), np.float32("nan")),
    "numpy bool": (np.bool_(True), np.bool_(False)),
    "numpy int": (np.int64(-3), np.int64(2**62)),
    "numpy byte": (np.uint8(3), np.uint8(255)),
    "numpy complex": (np.complex64(1j), np.complex64(-2)),
    "0-d array": (np.array(1.5), np.array(NAN)),
    "big-endian array": (np.array([1, 2], ">i2"), np.array([-1, 5], ">i2")),
    "dates": (np.array(["2020-01-01"], "M8[D]"), np.array(["NaT"], "M8[D]")),
    "texts": (np.array(["ab", "c"]), np.array(["x", "yz"])),
    "no elements": (np.zeros((0, 3)),),
    "large array": (np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 7, np.uint8)),
    "a nested info": (
        {"x": 1.0, "in": {"n": (1, True), "t": "a"}, "a": np.arange(3)},
        {"x": NAN, "in": {"n": (-7, False), "t": "a"}, "a": np.arange(3) + 4},
    ),
    "numbers": (
        {"f": 1.0, "i": 1, "b": True, "f8": np.float64(2), "i8": np.int64(3), "u1": np.uint8(4), "b1": np.bool_(0)},
        {
            "f": NAN,
            "i": -(2**63),
            "b": False,
            "f8": np.float64(NAN),
            "i8": np.int64(-(2**63)),
            "u1": np.uint8(255),
            "b1": np.bool_(1),
        },
    ),
    "numbers of numpy": (
        {cls.__name__: cls(1) for cls in (np.int8, np.int16, np.uint16, np.int32, np.uint32, np.uint64)},
        {
            cls.__name__: cls(np.iinfo(cls).max)
            for cls in (np.int8, np.int16, np.uint16, np.int32, np.uint32, np.uint64)
        },
    ),
    "numbers and others": ({"f": 1.0, "f4": np.float32(NAN)}, {"f": 2.0, "f4": np.float32(-0.0)}),
    "one number": ({"f": 1.0}, {"f": -0.0}),
    "empty": ({}, {}),
    "an empty tuple": ((), ()),
}
# A value, and others that look like it.
UNLIKE: dict[str, tuple[Any, ...]] = {
    "float": (1.0, np.float64(1), 1, True, np.float32(1), "1.0", None, np.array(1.0), [1.0]),
    "int": (1, True, 1.0, np.int64(1), 2**63, -(2**63) - 1),
    "bool": (True, np.bool_(True), 1, None),
    "none": (None, False, "", ()),
    "text": ("a", "b", "ab", "", np.str_("a"), b"a", None),
    "numpy float": (np.float64(1), 1.0, np.float32(1), np.array(1.0)),
    "numpy int": (np.int64(1), 1, np.int32(1), np.uint64(1)),
    "array": (np.zeros(3), np.zeros(4), np.zeros((3, 1)), np.zeros(3, np.float32), np.zeros(3, ">f8"), [0.0] * 3),
    "dict of numbers": (
        {"f": 1.0, "i": 1},
        {"f": 1, "i": 1},
        {"f": 1.0, "i": True},
        {"f": 1.0, "i": 2**63},
        {"f": 1.0, "i": -(2**63) - 1},
        {"f": np.float64(1), "i": 1},
        {"f": 1.0, "i": np.int64(1)},
        {"i": 1, "f": 1.0},
        {"f": 1.0},
        {"f": None, "i": 1},
        {"f": 1.0, "i": 1, "more": 1},
        {"f": 1.0, np.str_("i"): 1},
        [1.0, 1],
        (1.0, 1),
        None,
        {},
    ),
    "dict of numpy's numbers": (
        {"f": np.float64(1), "b": np.bool_(1)},
        {"f": 1.0, "b": np.bool_(1)},
        {"f": np.float64(1), "b": True},
        {"f": np.float32(1), "b": np.bool_(1)},
        {"f": np.array(1.0), "b": np.bool_(1)},
    ),
    "dict": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, np.str_("b"): 2}),
    "tuple": ((1, 2), [1, 2], (1,), (1, 2, 3)),
}
NO_FORM: dict[str, Any] = {
    "list": [1],
    "set": {1},
    "bytes": b"a",
    "other keys": {1: 2},
    "numpy keys": {np.str_("a"): 1},
    "ordered": OrderedDict(a=1),
    "objects": np.array([None]),
    "fields": np.zeros(2, [("a", "i4")]),
    "a long text": "x" * (MAX_TEXT_CHARS + 1),
    "numpy text": np.str_("a"),
    "a date": np.datetime64("2020-01-01"),
    "a masked array": np.ma.zeros(3),
    "a class": type("Float", (float,), {})(1.0),
    "a large int": 2**64,
    "many parts": {"k%d" % number: (1,) for number in range(MAX_PARTS)},
    "a deep one": functools.reduce(lambda value, _: {"a": value}, range(MAX_NESTING + 1), 1.0),
    "a long key": {"k" * (MAX_TEXT_CHARS + 1): 1},
    "within": {"a": (1, {"b": [2]})},
}


def compiled(value: Any) -> Any:
    """As the other side compiles it."""
    return compile_form(crossed(spec_of(value)), 3)


def packed(form: Any, value: Any) -> Packed | None:
    into = Packed()
    return into if form.pack(value, into.head, into.buffers) else None


@pytest.mark.parametrize("name", ALIKE)
def test_what_fits_comes_back_as_it_was(name: str) -> None:
    first, *_ = ALIKE[name]
    ours, theirs = compile_form(spec_of(first), 3), compiled(first)
    assert ours.stamp == theirs.stamp
    for value in ALIKE[name]:
        found = packed(ours, value)
        assert found is not None
        head = b"??" + bytes(found.head)
        assert same(theirs.unpack(head, 2, received(found.buffers)), value)
        if not found.buffers:
            memory = memoryview(bytearray(head))
            back = theirs.reader(memory, 2)()
            memory[:] = bytes(len(head))
            assert same(back, value)


@pytest.mark.parametrize("name", UNLIKE)
def test_what_only_looks_like_it_does_not_fit(name: str) -> None:
    first, *others = UNLIKE[name]
    form = compiled(first)
    assert packed(form, first) is not None
    for other in others:
        assert packed(form, other) is None, other


@pytest.mark.parametrize("name", NO_FORM)
def test_what_has_no_form(name: str) -> None:
    spec = spec_of(NO_FORM[name])
    if spec is None:
        return
    assert packed(compile_form(spec, 0), NO_FORM[name]) is None  # as a large int


def test_a_key_that_a_peer_names_twice_counts_once() -> None:
    number = {"kind": "float"}
    form = compile_form({"kind": "Dict", "spaces": [("a", number), ("b", number), ("a", number)]}, 0)
    assert form.unpack(struct.pack("<3d", 1, 2, 3), 0, ()) == {"a": 3, "b": 2}


def test_longlong_would_come_back_as_int64() -> None:
    for cls in (np.longlong, np.ulonglong, np.int64, np.uint64, np.intc):
        spec = spec_of(cls(1))
        assert spec is None or type(compile_form(spec, 0).unpack(bytes(8), 0, ())) is cls


BAD_SPECS: dict[str, Any] = {
    "nothing": None,
    "a numpy number": np.int64(3),
    "an array": np.zeros(2),
    "numpy within": {"kind": "Tuple", "spaces": [np.int64(3)]},
    "numpy for a pair": {"kind": "Dict", "spaces": [np.zeros(2)]},
    "too many parts": {"kind": "Tuple", "spaces": [{"kind": "float"}] * MAX_PARTS},
    "no kind": {},
    "an unknown kind": {"kind": "Discrete", "dtype": "<i8"},
    "a space of no size": {"kind": "Text"},
    "an unhashable kind": {"kind": [1]},
    "a dtype of objects": {"kind": "Box", "dtype": "|O", "shape": ()},
    "a scalar of a date": {"kind": "scalar", "dtype": "<M8[D]"},
    "a scalar of a text": {"kind": "scalar", "dtype": "<U9"},
    "a negative shape": {"kind": "Box", "dtype": "|u1", "shape": (-1,)},
    "a shape of floats": {"kind": "Box", "dtype": "|u1", "shape": (1.5,)},
    "too much": {"kind": "Box", "dtype": "|u1", "shape": (2**40,)},
    "a constant that is mutable": {"kind": "constant", "value": [1]},
    "a constant array": {"kind": "constant", "value": np.zeros(2)},
    "a framework's text": {
        "kind": "framework",
        "array": {"kind": "constant", "value": "a"},
        "label": "torch",
        "flags": 1,
    },
    "a framework within": {
        "kind": "framework",
        "array": {"kind": "framework", "array": {"kind": "Box", "dtype": "|u1", "shape": ()}, "label": "a", "flags": 1},
        "label": "torch cpu",
        "flags": 1,
    },
    "flags": {"kind": "framework", "array": {"kind": "Box", "dtype": "|u1", "shape": ()}, "label": "torch", "flags": 4},
    "flags that are an array": {
        "kind": "framework",
        "array": {"kind": "Box", "dtype": "|u1", "shape": ()},
        "label": "torch",
        "flags": np.zeros(3),
    },
    "a shape that numpy refuses": {"kind": "Box", "dtype": "|u1", "shape": (0, 2**62, 2**62)},
    "bfloat16 of bytes": {
        "kind": "framework",
        "array": {"kind": "Box", "dtype": "|u1", "shape": ()},
        "label": "torch",
        "flags": 3,
    },
    "a label that is no text": {
        "kind": "framework",
        "array": {"kind": "Box", "dtype": "|u1", "shape": ()},
        "label": 1,
        "flags": 1,
    },
    "pairs that are none": {"kind": "Dict", "spaces": [1]},
    "spaces that are none": {"kind": "Tuple", "spaces": 3},
    "one of the parts": {"kind": "Tuple", "spaces": [{"kind": "float"}, {"kind": "Text"}]},
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_a_peer_that_says_something_else_is_refused(name: str) -> None:
    with pytest.raises(BadValue):
        compile_form(copy.deepcopy(BAD_SPECS[name]), 0)


def test_too_few_bytes_or_buffers_are_a_bad_value() -> None:
    form = compiled({"a": 1.0, "b": np.zeros(3), "c": np.zeros((64, 64, 3), np.uint8)})
    for head, buffers in ((b"", [bytes(12288)]), (bytes(31), [bytes(12288)]), (bytes(32), [])):
        with pytest.raises(BadValue):
            form.unpack(head, 0, buffers)
    with pytest.raises(BadValue, match="12287 bytes"):
        form.unpack(bytes(32), 0, [np.zeros(12287, np.uint8)])
