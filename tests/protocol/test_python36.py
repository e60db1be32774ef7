"""The packages that the server loads, in real targets: Python 3.6 with numpy 1.19, 3.13, and every gym between."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from support.crossing import feed, values_of
from support.golden import GOLDEN
from support.hostile import HOSTILE
from support.in_target_runs import FLOOR_AND_CEILING, answer, run
from support.same import same

from gym_service.client.spaces import ForeignSpace, space_from
from gym_service.protocol.frames import FrameDecoder
from gym_service.transport.image_codec import ImageDecoder

LIBRARIES = {
    "py36-gym021": "gym",
    "py38-gym021": "gym",
    "py38-gym025": "gym",
    "py39-gym026": "gym",
    "py310-gymnasium026": "gymnasium",
    "py38-gymnasium028": "gymnasium",
    "py39-gymnasium029": "gymnasium",
    "py311-gymnasium10": "gymnasium",
    "py312-gymnasium14": "gymnasium",
}


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_everything_comes_back_from_the_target_as_it_went(target: str) -> None:
    values = {name: list(row[0]) for name, row in GOLDEN.items() if name != "space"}
    values["long doubles"] = [np.longdouble(1) / 3, np.array([np.longdouble(1) / 3, -0.0])]
    values["image"] = [np.arange(480 * 640 * 3, dtype=np.uint8).reshape(480, 640, 3)]
    assert same(run(target, "echo", sent=values), values)


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_what_the_target_codes_is_restored_here(target: str) -> None:
    values = [np.indices((64, 96, 3)).sum(axis=0).astype(np.uint8) for _ in range(4)]
    for step, value in enumerate(values):
        value[step : step + 9, 7:20] = 255
    data = answer(target, "pictures", sent=values)
    assert len(data) < sum(value.nbytes for value in values) / 4
    decoder = FrameDecoder()
    decoder.image_codec = ImageDecoder()
    frame = feed(decoder, data)
    for value in values:
        assert frame is not None
        assert same(values_of(frame.head, frame.buffers, 1)[0], value)
        frame = decoder.received(0)
    assert decoder.at_boundary


@pytest.mark.parametrize("target", FLOOR_AND_CEILING)
def test_hostile_bytes_are_a_bad_value_in_the_target_too(target: str) -> None:
    outcomes = run(target, "refuse", sent=list(HOSTILE.values()))
    assert dict(zip(HOSTILE, outcomes, strict=True)) == dict.fromkeys(HOSTILE, "BadValue")


@pytest.fixture(scope="module", params=LIBRARIES)
def account(request: pytest.FixtureRequest) -> dict[str, Any]:
    return run(request.param, "spaces", LIBRARIES[request.param])


def described(account: dict[str, Any]) -> dict[str, spaces.Space[Any]]:
    unknown_here = set() if hasattr(spaces, "OneOf") else {"one of"}
    return {name: space_from(account["spaces"][name]["data"]) for name in set(account["spaces"]) - unknown_here}


def test_every_space_arrives_as_it_would_be_made_here(account: dict[str, Any]) -> None:
    box = spaces.Box(-1.0, 1.0, (2,), np.float32)
    expected: dict[str, spaces.Space[Any]] = {
        "box": box,
        "image": spaces.Box(0, 255, (64, 64, 3), np.uint8),
        "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float64),
        "half bounded": spaces.Box(np.array([0, -np.inf]), np.array([np.inf, 5]), dtype=np.float64),
        "without dimensions": spaces.Box(-1.0, 1.0, (), np.float64),
        "shape of numpy's": box,
        "discrete": spaces.Discrete(5),
        "multi discrete": spaces.MultiDiscrete([3, 2]),
        "multi discrete of two dimensions": spaces.MultiDiscrete(np.array([[1, 2], [3, 4]])),
        "multi binary": spaces.MultiBinary(4),
        "multi binary of two dimensions": spaces.MultiBinary([2, 3]),
        "tuple": spaces.Tuple([spaces.Discrete(3), spaces.Dict([("z", box), ("a", spaces.Discrete(2))])]),
        "subclass": box,
        "discrete with start": spaces.Discrete(5, start=-2),
        "multi discrete with start": spaces.MultiDiscrete([3, 2], start=[1, -1]),
        "text": spaces.Text(5, min_length=2, charset="zyx"),
        "sequence": spaces.Sequence(box),
        "graph": spaces.Graph(box, spaces.Discrete(3)),
        "graph without edges": spaces.Graph(box, None),
    }
    if hasattr(spaces, "OneOf"):
        expected["one of"] = spaces.OneOf([box, spaces.Discrete(3)])
    arrived = described(account)
    assert set(arrived) - {"mission"} <= set(expected)
    for name in set(arrived) & set(expected):
        assert arrived[name] == expected[name], name
        assert type(arrived[name]) is type(expected[name])
        assert repr(arrived[name]) == repr(expected[name])
        assert getattr(arrived[name], "dtype", None) == getattr(expected[name], "dtype", None)
    assert list(arrived["tuple"][1].spaces) == ["z", "a"]
    for name in ("box", "unbounded", "half bounded"):
        for attribute in ("low", "high", "bounded_below", "bounded_above"):
            assert same(getattr(arrived[name], attribute), getattr(expected[name], attribute)), (name, attribute)


def test_the_targets_samples_lie_in_the_spaces_here(account: dict[str, Any]) -> None:
    for name, space in described(account).items():
        if name != "mission":
            assert space.contains(account["spaces"][name]["sample"]), name


def test_what_fits_the_targets_layout_comes_back_exactly(account: dict[str, Any]) -> None:
    fitted = [name for name, facts in account["spaces"].items() if facts["fits"]]
    assert {"box", "image", "without dimensions", "discrete", "multi discrete", "multi binary"} <= set(fitted)
    for name in fitted:
        assert same(account["spaces"][name]["packed"], account["spaces"][name]["sample"])


def test_classes_of_its_own_are_foreign_or_refused(account: dict[str, Any]) -> None:
    mission = described(account)["mission"]
    assert type(mission) is ForeignSpace
    assert mission.class_name.endswith(".Mission")
    assert (mission.shape, mission.dtype) == ((), np.dtype("<U0"))
    assert account["refusal"] == ("$.space[1]", "Silent")
