"""Spaces as plain data and back: every attribute, the same samples; and what cannot be described."""

import enum
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Space, Tuple
from support.crossing import crossed
from support.same import same
from support.spaces import CANNOT_SAMPLE, SPACES

from gym_service.client.spaces import ForeignSpace, space_from
from gym_service.protocol.space_spec import CannotDescribe, describe
from gym_service.protocol.values import BadValue, CannotEncode

# Attributes of a space's generator, and texts that are computed on first use.
NOT_COMPARED = {"_np_random", "low_repr", "high_repr", "sort_keys"}


def arrived(space: Space[Any]) -> Space[Any]:
    return space_from(crossed(describe(space, "$")))


def attributes(space: Space[Any]) -> dict[str, Any]:
    """All attributes of a space, as values that ``same`` can compare."""
    found: dict[str, Any] = {"class": f"{type(space).__module__}.{type(space).__qualname__}"}
    for name, value in vars(space).items():
        if name not in NOT_COMPARED:
            found[name] = plain(value)
    return found


def plain(value: Any) -> Any:
    if isinstance(value, Space):
        return attributes(value)
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(plain(part) for part in value)]
    return value.str if isinstance(value, np.dtype) else value


@pytest.mark.parametrize("name", SPACES)
def test_a_space_arrives_with_every_attribute(name: str) -> None:
    space = SPACES[name]
    twin = arrived(space)
    assert twin == space
    assert same(attributes(twin), attributes(space))
    assert repr(twin) == repr(space)


@pytest.mark.parametrize("name", sorted(set(SPACES) - CANNOT_SAMPLE))
def test_a_space_and_its_twin_sample_the_same(name: str) -> None:
    space, twin = SPACES[name], arrived(SPACES[name])
    assert space.seed(11) == twin.seed(11)
    for _ in range(3):
        sample, other = space.sample(), twin.sample()
        assert same(other, sample)
        assert twin.contains(sample)


def test_a_big_endian_box_keeps_its_byte_order() -> None:
    box = Box(-1, 1, (2,), np.dtype(">f4"))
    assert arrived(box).dtype == np.dtype(">f4")
    assert same(arrived(box).low, box.low)


def test_bounds_that_gymnasium_refuses_arrive_all_the_same() -> None:
    box = Box(-1, 1, (2,), np.float64)
    box.low, box.high = np.array([np.nan, 5.0]), np.array([0.0, 2.0])
    assert same(arrived(box).low, box.low)
    assert same(arrived(box).high, box.high)


class Narrow(Box):
    """A subclass that a simulator defines."""


class Mission(Space[str]):
    """Derives directly from Space, as minigrid's MissionSpace does."""

    def __init__(self, dtype: Any = str, shape: tuple[int, ...] | None = ()) -> None:
        super().__init__(shape, dtype)


class Unprintable(Mission):
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_subclass_arrives_as_the_space_below_it() -> None:
    assert same(attributes(arrived(Narrow(-1, 1, (2,)))), attributes(Box(-1, 1, (2,))))


def test_a_class_of_its_own_is_foreign_and_says_what_it_knows() -> None:
    foreign = arrived(Tuple([Discrete(2), Mission()]))[1]
    assert type(foreign) is ForeignSpace
    assert foreign.class_name == f"{__name__}.Mission"
    assert (foreign.dtype, foreign.shape) == (np.dtype("<U0"), ())
    assert foreign.contains("go there")
    assert not foreign.contains(3)
    assert not foreign.is_np_flattenable
    mission = Mission()
    assert arrived(mission) == arrived(mission) != foreign
    assert len({arrived(mission), arrived(mission)}) == 1
    with pytest.raises(NotImplementedError, match="Mission"):
        foreign.sample()


def test_a_foreign_space_of_arrays_knows_their_shape_and_dtype() -> None:
    foreign = arrived(Mission(np.float32, (2,)))
    assert foreign.contains(np.zeros(2, np.float32))
    assert not foreign.contains(np.zeros(3, np.float32))
    assert not foreign.contains(np.zeros(2, np.float64))


@pytest.mark.parametrize("dtype", [object, "V8", "S", "<U7", "<M8[D]"])
def test_a_foreign_space_may_state_any_dtype(dtype: Any) -> None:
    assert arrived(Mission(dtype, None)).dtype == np.dtype(dtype)


@pytest.mark.parametrize("text", ["(1,)(i8", "(\0)i8", "i8,f4", "<i8" * 9, "|V999999999", "float64", "<M8[0s]", ""])
@pytest.mark.parametrize("space", [Discrete(3), Box(0, 1, (2,)), gymnasium.spaces.MultiDiscrete([2, 3]), Mission()])
def test_no_other_text_is_a_dtype(space: Space[Any], text: str) -> None:
    """numpy passes parts of a text like a list of dtypes to Python's parser, which raises a SyntaxError."""
    with pytest.raises(BadValue, match="not the dtype of a space"):
        space_from(describe(space, "$") | {"dtype": text})


def test_a_foreign_space_that_cannot_be_printed_is_described_all_the_same() -> None:
    assert "RuntimeError" in repr(arrived(Unprintable()))


@pytest.mark.parametrize(
    ("space", "path"),
    [
        (Mission(None, None), "$.space"),
        (Tuple([Discrete(2), Mission(None, None)]), "$.space[1]"),
        (Dict(a=Dict({"goal": Mission(None, None)})), "$.space['a']['goal']"),
        (gymnasium.spaces.Sequence(Mission(None, None)), "$.space.feature_space"),
    ],
    ids=["alone", "tuple", "dict", "sequence"],
)
def test_what_states_nothing_cannot_be_described(space: Space[Any], path: str) -> None:
    with pytest.raises(CannotDescribe) as refused:
        describe(space, "$.space")
    assert (refused.value.path, refused.value.type_name) == (path, f"{__name__}.Mission")
    assert path in str(refused.value)


class Side(enum.Enum):
    LEFT = "left"


def test_a_key_may_be_the_member_of_an_enum() -> None:
    assert arrived(Dict([(Side.LEFT, Discrete(2))])).spaces == {Side.LEFT: Discrete(2)}


def test_a_key_that_cannot_cross_is_refused_and_never_an_opaque() -> None:
    key = threading.Lock()
    with pytest.raises(CannotEncode) as refused:
        describe(Dict({"arm": Dict([(key, Discrete(2))])}), "$.action_space")
    assert refused.value.path == "$.action_space['arm']"


def test_shapes_are_of_pythons_integers() -> None:
    box = Box(-1, 1, (2,))
    box._shape = (np.int64(2),)  # gym 0.21 keeps the integers it is given
    assert same(describe(box, "$")["shape"], (2,))


def test_an_unknown_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        space_from({"kind": "Sphere"})
