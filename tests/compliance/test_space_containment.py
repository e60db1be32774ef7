"""A value outside its space is reported by its path; a value inside any kind of space is not reported."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_service.testing.space_containment import containment_error

BOX = spaces.Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32))
NESTED = spaces.Dict(hand=spaces.Tuple((BOX, spaces.Discrete(3))), picture=spaces.Box(0, 255, (2, 2, 3), np.uint8))
ONE_OF = getattr(spaces, "OneOf", None)  # new in Gymnasium 1.0
EVERY = (
    NESTED,
    spaces.MultiBinary((2, 3)),
    spaces.MultiDiscrete([3, 4]),
    spaces.Text(8),
    spaces.Sequence(spaces.Discrete(4)),
    spaces.Graph(BOX, spaces.Discrete(2)),
    spaces.Box(0, 1, ()),
    *([ONE_OF((BOX, spaces.Discrete(2)))] if ONE_OF else []),
)


@pytest.mark.parametrize("space", EVERY, ids=lambda space: type(space).__name__)
def test_samples_fit(space: spaces.Space[Any]) -> None:
    space.seed(1)
    for _ in range(20):
        assert containment_error(space, space.sample()) == ""


@pytest.mark.parametrize(
    ("space", "value", "words"),
    [
        (BOX, np.array([0, 2.5], np.float32), "$[1] is 2.5, outside of -2.0 to 2.0"),
        (BOX, np.array([np.nan, 0], np.float32), "$[0] is nan, outside of -1.0 to 1.0"),
        (spaces.Box(0, 1, ()), np.array(7, np.float32), "$ is 7.0, outside of 0.0 to 1.0"),
        (BOX, np.zeros(2), "$ is an array of float64 (2,), its space has float32 (2,)"),
        (BOX, np.zeros((1, 2), np.float32), "$ is an array of float32 (1, 2), its space has float32 (2,)"),
        (BOX, [0.0, 0.0], "$ is no array but of type list, its space has float32 (2,)"),
        (BOX, None, "$ is no array but of type NoneType, its space has float32 (2,)"),
        (spaces.Discrete(3), 3, "$ is 3 (int), which is not in Discrete(3)"),
        (NESTED, {"hand": 1}, "$ has the keys ['hand'], its space ['hand', 'picture']"),
        (
            NESTED["hand"],
            (np.zeros(2, np.float32),),
            "$ is (array([0., 0.], dtype=float32),) (tuple), which is not in Tuple(Box([-1. -2.]",
        ),
        (NESTED["hand"], (np.zeros(2, np.float32), 5), "$[1] is 5 (int), which is not in Discrete(3)"),
        (spaces.Text(3), "abcd", "$ is 'abcd' (str), which is not in Text(1, 3, "),
    ],
)
def test_a_misfit_is_named(space: spaces.Space[Any], value: Any, words: str) -> None:
    assert containment_error(space, value).startswith(words)
