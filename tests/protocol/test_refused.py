"""Values that cannot cross: refused with their path, or an Opaque in an info; and which value is called the largest."""

import copy
import dataclasses
import enum
import pickle
import threading
from array import array
from collections import UserDict
from collections.abc import Callable
from datetime import datetime
from types import MappingProxyType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from gymnasium.spaces import GraphInstance
from support.crossing import encoded, values_of
from support.same import same

from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import BadValue, CannotEncode, Opaque


class TensorLike:
    def numpy(self) -> np.ndarray:
        return np.zeros(1)


@dataclasses.dataclass
class Facts:
    number: int


class Stamp(datetime):
    pass


class Half(np.float32, enum.Enum):
    ONE = np.float32(0.5)


class Locks(enum.Enum):
    ONE = threading.Lock()


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def in_object_array(value: Any, shape: tuple[int, ...], index: tuple[int, ...]) -> np.ndarray:
    array = np.full(shape, None, object)
    array[index] = value
    return array


def cyclic() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


LOCK = threading.Lock()
MASKED = f"{np.ma.MaskedArray.__module__}.MaskedArray"  # another name since numpy 2
REFUSED: dict[str, tuple[Any, str, str]] = {
    "lock": (LOCK, "_thread.lock", "no form on the wire"),
    "function": (in_object_array, "function", "no form on the wire"),
    "tensor": (TensorLike(), f"{__name__}.TensorLike", "pass .numpy() instead"),
    "class": (int, "type", "no form on the wire"),
    "memoryview": (memoryview(b"x"), "memoryview", "pass bytes(value) instead"),
    "dict of one's own": (UserDict(a=1), "collections.UserDict", "pass value.data instead"),
    "view of a dict": (MappingProxyType({"a": 1}), "mappingproxy", "pass dict(value) instead"),
    "keys": ({1: 2}.keys(), "dict_keys", "pass list(value) instead"),
    "namespace": (SimpleNamespace(a=1), "types.SimpleNamespace", "pass vars(value) instead"),
    "dataclass": (Facts(1), f"{__name__}.Facts", "pass dataclasses.asdict(value) instead"),
    "array of the standard library": (array("i", [1]), "array.array", "pass numpy.array(value) instead"),
    "subclass of a datetime": (Stamp(2026, 1, 2), f"{__name__}.Stamp", "only a plain datetime has a form"),
    "time zone of one's own": (
        datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")),
        "datetime.datetime",
        "pass value.astimezone(datetime.timezone.utc) instead",
    ),
    "enum of numbers of numpy's": (Half.ONE, f"{Half.__module__}.Half", "its class mixes a float32 into an Enum"),
    "enum of objects": (Locks.ONE, f"{__name__}.Locks", "Locks[5][0][2] is a _thread.lock"),
    "masked array": (
        np.ma.masked_array([1, 2], [True, False]),
        MASKED,
        "send .data and .mask",
    ),
    "structured array": (
        np.zeros(2, "i4,f4"),
        "numpy.ndarray",
        "pass {name: value[name] for name in",
    ),
    "structured scalar": (np.zeros(2, "i4,f4")[0], "numpy.void", "pass {name: value[name] for name in"),
    "void array": (np.zeros(2, "V4"), "numpy.ndarray", "dtype |V4"),
    "unprintable": (Unprintable(), f"{__name__}.Unprintable", "no form on the wire"),
}
if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
    REFUSED["33 dimensions"] = (np.zeros((1,) * 33), "numpy.ndarray", "more than 32 dimensions")

PLACES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "alone": (lambda value: value, "$.info"),
    "list": (lambda value: [0, value], "$.info[1]"),
    "tuple": (lambda value: (value,), "$.info[0]"),
    "dict": (lambda value: {"x": [0, 1, 2, value]}, "$.info['x'][3]"),
    "dict with odd keys": (lambda value: {(1, None): {2: value}}, "$.info[(1, None)][2]"),
    "object array": (lambda value: in_object_array(value, (3,), (2,)), "$.info[2]"),
    "2-d object array": (lambda value: {"grid": in_object_array(value, (2, 2), (1, 0))}, "$.info['grid'][(1, 0)]"),
    "0-d object array": (lambda value: in_object_array(value, (), ()), "$.info[()]"),
    "graph": (lambda value: GraphInstance(np.zeros(1), value, None), "$.info[1]"),
    "after deeper places": (lambda value: [{"a": [1]}, ((),), {3}, value], "$.info[3]"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_its_exact_path_or_becomes_an_opaque(kind: str, place: str) -> None:
    value, type_name, reason = REFUSED[kind]
    put, path = PLACES[place]
    with pytest.raises(CannotEncode) as refused:
        Encoder().add(put(value), "$.info")
    assert (refused.value.path, refused.value.type_name) == (path, type_name)
    assert reason in str(refused.value)

    encoder = Encoder().add(put(value), "$.info", opaque=True)
    assert encoder.replaced == [(path, type_name)]
    arrived = values_of(encoder.head, encoder.buffers, 1)[0]
    stand_in = Opaque(type_name, "<repr failed: RuntimeError>" if kind == "unprintable" else repr(value)[:200])
    assert same(arrived, put(stand_in))


@pytest.mark.parametrize("put", [lambda lock: {lock: 1}, lambda lock: {lock}, lambda lock: frozenset([lock])])
def test_keys_and_members_of_sets_are_refused_too(put: Callable[[Any], Any]) -> None:
    with pytest.raises(CannotEncode) as refused:
        encoded([put(LOCK)])
    assert refused.value.path in ("$[0][0]", f"$[0][{LOCK!r}]")
    encoder = Encoder().add(put(LOCK), opaque=True)
    assert same(values_of(encoder.head, [], 1)[0], put(Opaque("_thread.lock", repr(LOCK))))


def test_a_list_that_holds_itself_is_refused_where_it_comes_back() -> None:
    with pytest.raises(CannotEncode, match="it holds itself") as refused:
        encoded({"a": cyclic()})
    assert refused.value.path == "$['a'][1]"
    encoder = Encoder().add(cyclic(), opaque=True)
    assert encoder.replaced == [("$[1]", "list")]
    assert values_of(encoder.head, [], 1)[0] == [1, Opaque("list", "[1, [...]]")]


def test_parents_and_children_that_know_each_other_end_soon() -> None:
    parent: dict[str, Any] = {"children": []}
    parent["children"] += [{"name": index, "parent": parent} for index in range(20)]
    encoder = Encoder().add(parent, "$", opaque=True)
    assert len(encoder.replaced) == 20
    assert encoder.replaced[3] == ("$['children'][3]['parent']", "dict")


def test_one_list_in_two_places_is_no_cycle() -> None:
    shared = [1]
    encoder = encoded([shared, {"again": shared}, (shared,)])
    assert values_of(encoder.head, [], 1)[0] == [[1], {"again": [1]}, ([1],)]


def test_an_encoder_that_refused_one_value_takes_the_next() -> None:
    encoder = Encoder()
    for _ in range(200):  # anything that a refusal left behind would reach the bound on depth
        with pytest.raises(CannotEncode):
            encoder.add([[LOCK]])
    with pytest.raises(CannotEncode) as refused:
        encoder.add([LOCK], "$.action")
    assert refused.value.path == "$.action[0]"


def test_nothing_is_left_of_an_opaque_list_but_its_repr() -> None:
    deep: Any = LOCK
    for _ in range(101):
        deep = [deep]
    encoder = Encoder().add(deep, opaque=True)
    assert encoder.replaced == [("$" + "[0]" * 100, "list")]
    with pytest.raises(BadValue):
        values_of(encoder.head[:-1], [], 1)


def test_a_long_path_is_cut_and_a_failing_key_does_no_harm() -> None:
    with pytest.raises(CannotEncode) as refused:
        encoded({"k" * 10_000: LOCK})
    assert len(refused.value.path) < 300
    with pytest.raises(CannotEncode) as refused:
        encoded({Unprintable(): 1})
    assert refused.value.path == "$[<repr failed: RuntimeError>]"


def test_the_largest_value_is_named() -> None:
    frame = np.zeros((100, 100), "u1")
    encoder = Encoder().add({"small": frame[:70], "texts": ["x" * 20_000]}, "$.info")
    assert encoder.largest == (20_000, "$.info['texts'][0]")
    encoder.add([frame, frame[:50]], "$.observation")
    assert encoder.largest == (20_000, "$.info['texts'][0]")
    encoder.add((0, np.zeros(10_000)), "$.reward")
    assert encoder.largest == (80_000, "$.reward[1]")


def test_many_small_values_are_named_by_their_root() -> None:
    encoder = Encoder().add(1, "$.seed").add([0.5] * 1000, "$.options").add(2, "$.rest")
    assert encoder.largest == (9 * 1000 + 5, "$.options")


ASKED = {
    "bool": bool,
    "len": len,
    "iter": iter,
    "in": lambda it: 1 in it,
    "int": int,
    "float": float,
    "==": lambda it: it == 0,
    "== from the left": lambda it: 0 == it,  # noqa: SIM300
    "== of numpy": lambda it: np.float64(0) == it,
    "!=": lambda it: it != None,  # noqa: E711
    "<": lambda it: it < 1,
    "+": lambda it: 1 + it,
    "+ of numpy": lambda it: np.zeros(2) + it,
    "-": lambda it: -it,
    "&": lambda it: True & it,
    "an array": np.asarray,
    "in a sum": lambda it: sum([it]),
    "all": lambda it: all([it]),
}


@pytest.mark.parametrize("name", ASKED)
def test_an_opaque_answers_nothing_in_place_of_what_it_stands_for(name: str) -> None:
    with pytest.raises(TypeError, match=r"is a sim\.Success, which could not cross"):
        ASKED[name](Opaque("sim.Success", "<failed>"))


def test_an_opaque_can_be_shown_hashed_copied_and_compared_with_another() -> None:
    one, other = Opaque("sim.Success", "<failed>"), Opaque("sim.Success", "<done>")
    assert one == Opaque("sim.Success", "<failed>")
    assert one != other
    assert len({one, other, copy.deepcopy(one), pickle.loads(pickle.dumps(other))}) == 2
    assert repr(one) == "Opaque(sim.Success, <failed>)"
    column = np.full(2, None, object)
    column[0] = one  # as a vector env stores it
    assert column[0] is one
    assert not callable(one)
