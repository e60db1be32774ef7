"""Classes that a decoder makes from what it reads: those of Enums and named tuples, whatever names a peer sends."""

import collections
import copy
import enum
import pickle
import struct
import sys
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from support.crossing import encoded, values_of
from support.golden import GOLDEN, Point, Side
from support.hostile import definition, enum_class, holding, listed, member, text
from support.same import same

from gym_service.protocol import class_forms, enum_classes
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import BadValue, CannotEncode, Opaque


@pytest.fixture(autouse=True)
def no_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ORIGINALS", "_DEFINITIONS", "_MADE"):
        monkeypatch.setattr(class_forms, name, {})


def read(head: bytes) -> Any:
    return values_of(head, [], 1)[0]


def arrived(value: Any) -> Any:
    """A value as it arrives in a process that has not sent its class."""
    encoder = encoded(value)
    class_forms._ORIGINALS.clear()
    return values_of(encoder.head, encoder.buffers, 1)[0]


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


class Loose(enum.Flag):
    READ = 1
    WRITE = 2


class Strict(enum.Flag):
    READ = 1
    WRITE = 2


class Unit(str, enum.Enum):
    METRE = "m"


class Arrays(enum.Enum):
    ONE = np.array([1, 2])


class Parts(enum.Enum):
    ONE = (1, {"a": Side.LEFT})
    TWO = None


MEMBERS = [Side.LEFT, Access.BOTH, Access.READ | Access.WRITE, Bits.ONE | 8, ~Bits.ONE, Unit.METRE, *Arrays, *Parts]


@pytest.mark.parametrize("value", MEMBERS, ids=repr)
def test_a_member_arrives_as_one_of_a_class_made_here(value: Any) -> None:
    found = arrived(value)
    assert type(found) is not type(value)
    assert same(found, value)
    assert found == value
    assert value == found
    assert hash(found) == hash(value)
    assert list(type(found).__members__) == list(type(value).__members__)
    assert [one.name for one in type(found)] == [one.name for one in type(value)]
    assert copy.copy(found) is copy.deepcopy([found])[0] is found
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(found, protocol)) is found
        assert pickle.loads(pickle.dumps(type(found), protocol)) is type(found)
    assert same(arrived(found), value)


def test_flags_are_combined_as_those_of_the_original() -> None:
    read_, write = arrived(Access.READ), arrived(Access.WRITE)
    assert read_ | write == Access.BOTH
    assert (read_ | write) & write is write
    assert not read_ & write
    assert ~read_ == Access.WRITE
    assert arrived(Bits.ONE) | 4 == 5


def combined(flag: Any, name: str | None, value: int) -> bytes:
    """A combination of flags as another version of Python would write it."""
    head = encoded(flag).head
    begin = bytes(head).rindex(b"s" if flag._name_ else b"N")
    return bytes(head[:begin]) + (b"N" if name is None else text(name)) + b"i" + struct.pack("<q", value)


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_combination_is_one_object_whatever_it_is_called(is_sent: bool) -> None:
    """Its name depends on the version of Python, and a Flag compares by identity."""
    both = Loose.READ | Loose.WRITE
    if not is_sent:
        both = arrived(both)
    heads = [combined(Loose.READ | Loose.WRITE, name, 3) for name in (None, "READ|WRITE", "WRITE|READ")]
    if not is_sent:
        class_forms._ORIGINALS.clear()
    cls = type(both)
    assert all(read(head) is both for head in heads)
    assert cls.READ | cls.WRITE is both


def test_no_peer_adds_a_member_to_a_class_of_this_process() -> None:
    head = combined(Strict.READ | Strict.WRITE, "everything", 64)
    with pytest.raises(BadValue):
        read(head)
    with pytest.raises(ValueError, match="64"):
        Strict(64)


def test_a_combination_of_very_many_flags_is_refused() -> None:
    with pytest.raises(CannotEncode, match="more than 1024 bits"):
        encoded(Bits(1 << 2000))
    many = member(text("A"), text("A"), b"I" + struct.pack("<I", 1000) + bytes(999) + b"\x01")
    assert type(read(b"C" + enum_class(many, sort="Flag"))) is Opaque


def test_what_is_kept_counts_the_bytes_of_definitions() -> None:
    before = class_forms._kept_cost[0]
    read(holding(text("x" * 256_000)))
    assert class_forms._kept_cost[0] - before > 1000


def test_values_that_share_a_hash_are_refused() -> None:
    names = [text(f"M{number}") for number in range(500)]
    members = [
        member(name, name, b"I\x10\0\0\0" + (number * (2**61 - 1)).to_bytes(16, "little"))
        for number, name in enumerate(names)
    ]
    assert type(read(b"C" + enum_class(*members, names=listed(b"l", *names)))) is Opaque


def test_members_equal_no_more_than_the_originals_do() -> None:
    one = arrived(Access.READ)
    assert one != 1
    assert one != Access.WRITE
    assert one != enum.Flag("Access", {"READ": 1}, qualname="Other").READ
    assert one != enum.Flag("Access", {"READ": 4}, qualname="Access").READ
    assert one == enum.Flag("Access", {"READ": 1}, qualname="Access").READ
    assert one != enum.Enum("Access", {"WRITE": 1}, qualname="Access").WRITE


def test_a_named_tuple_can_what_a_named_tuple_can() -> None:
    found = arrived(Point([1]))
    assert found == Point([1]) == ([1],)
    assert repr(found) == repr(Point([1]))
    assert found.x is found[0]
    assert found._fields == ("x",)
    assert found._asdict() == {"x": [1]}
    assert found._replace(x=2) == (2,)
    assert type(found)._make([3]).x == type(found)(3).x == type(found)(x=3).x == 3
    for call in (lambda: type(found)(1, 2), lambda: type(found)(y=1), lambda: type(found)._make([]), type(found)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="unexpected field names"):
        found._replace(y=1)
    assert pickle.loads(pickle.dumps(found)) == found
    assert type(copy.deepcopy(found)) is type(found)
    assert type(arrived(found)) is type(found)


def test_what_was_sent_comes_back_as_a_member_of_its_own_class() -> None:
    encoder = encoded([Side.LEFT, Point(1), Access])
    left, point, access = values_of(encoder.head, [], 1)[0]
    assert left is Side.LEFT
    assert type(point) is Point
    assert access is Access


REFUSED_NAMES = [
    "mro",
    "_sunder_",
    "__init_subclass__",
    "__class__",
    "__eq__",
    "_generate_next_value_",
]


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_a_name_that_python_refuses_gives_an_opaque(name: str) -> None:
    one = enum_class(member(text(name), text(name)), names=listed(b"l", text(name)))
    assert read(b"E" + one + text(name)) == Opaque("os.Mode", name)
    assert read(b"U" + one + b"N" + b"i\x01" + bytes(7)) == Opaque("os.Mode", "None, 1")
    assert read(b"C" + one) == Opaque("enum.EnumMeta", "os.Mode")
    again = listed(b"l", b"E" + one + text(name), b"E" + struct.pack("<I", 1 + len(one) + len(text(name))) + text(name))
    assert read(again) == [Opaque("os.Mode", name)] * 2


@pytest.mark.parametrize("field", ["", "1", "for", "a b", "_a", "__class__", "_fields", "x=print()", "é)", "\0"])
def test_a_field_that_python_refuses_gives_an_opaque_and_runs_nothing(field: str) -> None:
    one = definition(text("namedtuple"), text("os"), text("Point"), listed(b"l", text(field)))
    assert read(b"p" + one + b"\x01\0\0\0T") == Opaque("os.Point", "(True,)")


@pytest.mark.parametrize("name", ["os", "antigravity", "this", "builtins", "__main__", "no.such.module", ""])
def test_nothing_is_imported_by_the_name_of_a_class(name: str) -> None:
    before = set(sys.modules)
    data = definition(text("namedtuple"), text(name), text("system"), listed(b"l", text("x")))
    found = read(b"p" + data + b"\x01\0\0\0T")
    pickle.loads(pickle.dumps([found, type(found)]))
    parts = [text("enum"), text(name), text("system"), text("Enum"), b"N"]
    data = definition(*parts, listed(b"l", member(text("A"), text("A"))), listed(b"l", text("A")))
    found = read(b"E" + data + text("A"))
    assert pickle.loads(pickle.dumps(found)) is found
    copy.deepcopy(found), repr(found), str(found), f"{found}"
    assert set(sys.modules) <= before | {"copyreg"}


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 10_000, "", ".", "a b", "None"])
def test_any_text_may_name_a_class_or_gives_an_opaque(name: str) -> None:
    encoder = Encoder().add(("namedtuple", "os", name, ["x"]))
    data = b"p" + struct.pack("<II", 0, len(encoder.head)) + bytes(encoder.head) + b"\x01\0\0\0T"
    found = read(data)
    assert type(found) is Opaque or found == (True,)
    repr(found)


def test_members_by_the_names_of_methods_do_no_harm() -> None:
    names = ["name", "value", "hash", "real", "from_bytes", "_missing", "upper", "é", "a b", "for"]
    members = [member(text(name), text(name), b"i" + struct.pack("<q", at)) for at, name in enumerate(names)]
    one = enum_class(*members, names=listed(b"l", *map(text, names)))
    found = [read(b"E" + one + text(name)) for name in names]
    assert all(type(each) is Opaque for each in found) or [each._name_ for each in found] == names


def test_a_1001st_class_is_refused() -> None:
    for number in range(1000):
        encoded(collections.namedtuple("Many", f"x{number}")(1))
    with pytest.raises(CannotEncode, match="1000 classes of Enums and named tuples have crossed already"):
        encoded(Side.LEFT)


def test_a_class_of_10000_members_is_made_and_a_larger_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def large(count: int) -> bytes:
        names = [text(f"n{number}") for number in range(count)]
        members = [member(name, name, b"i" + struct.pack("<q", number)) for number, name in enumerate(names)]
        return b"E" + enum_class(*members, names=listed(b"l", *names)) + text("n7")

    begin = time.monotonic()
    assert read(large(10_000)).value == 7
    assert time.monotonic() - begin < 10
    with pytest.raises(BadValue):
        read(large(10_001))
    monkeypatch.setattr(enum_classes, "MAX_MEMBERS", 2)  # Python itself is slow to make a class of 10,000
    with pytest.raises(CannotEncode, match="its class has 3 members, and 2 can cross"):
        encoded(Access.READ)


def test_what_is_kept_of_hostile_classes_is_bounded() -> None:
    for number in range(1500):
        one = definition(text("namedtuple"), text("os"), text(f"P{number}"), listed(b"l"))
        read(b"p" + one + bytes(4))
    assert len(class_forms._MADE) == class_forms.MAX_CLASSES
    head = listed(
        b"l",
        *(
            b"p" + definition(text("namedtuple"), text("x"), text(f"Q{n}"), listed(b"l")) + bytes(4)
            for n in range(3000)
        ),
    )
    tracemalloc.start()
    try:
        read(head)
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()


def test_a_definition_stands_in_a_message_once() -> None:
    once, many = encoded([Side.LEFT]), encoded([Side.LEFT] * 100)
    assert len(many.head) - len(once.head) == 99 * len(b"E" + bytes(4) + text("LEFT"))
    assert values_of(many.head, [], 1)[0] == [Side.LEFT] * 100
    joined = encoded(Side.LEFT)
    joined.extend(encoded([Side.LEFT, Side.PORT]))
    assert values_of(joined.head, [], 2) == [Side.LEFT, [Side.LEFT] * 2]


def test_what_is_taken_back_takes_its_definition_along() -> None:
    encoder = Encoder().add({"a": {Side.LEFT: 1, (Side.LEFT, object()): 2}, "b": [Side.LEFT]}, opaque=True)
    found = values_of(encoder.head, [], 1)[0]
    assert type(found["a"]) is Opaque
    assert found["b"] == [Side.LEFT]


def test_keys_that_would_arrive_as_the_same_are_refused() -> None:
    first, second = (enum.Enum("E", {"A": 1}, module="m", qualname="E") for _ in range(2))
    with pytest.raises(CannotEncode, match="another one beside it would arrive as the same value"):
        encoded([first.A, {first.A: 1, second.A: 2}])
    assert len(arrived({first.A: 1, (first.A, 1): 2, frozenset([first.A]): 3})) == 3


@pytest.mark.parametrize(
    "name", ["member", "named tuple", "Enum class", "combination of flags", "two members of a class"]
)
def test_every_flipped_bit_of_a_class_is_a_value_or_a_bad_value(name: str) -> None:
    head = GOLDEN[name][1]
    for at in range(len(head)):
        for bit in range(8):
            spoilt = bytearray(head)
            spoilt[at] ^= 1 << bit
            with suppress(BadValue):
                repr(ValueDecoder(bytes(spoilt)).read())
