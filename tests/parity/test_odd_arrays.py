"""Observations of every memory order and class in a batch, as a SyncVectorEnv has them."""

from typing import Any

import pytest
from support import vectors
from support.opened import TARGET
from support.vector_reference import MODES

ACTIONS = [[number % 4, (number + 1) % 4, (number * 3) % 4] for number in range(16)]
SPACES: list[dict[str, Any]] = [
    {"shape": [3, 4], "dtype": "float32"},
    {"shape": [5], "dtype": "int16"},
    {"shape": [2, 3, 2], "dtype": "bool"},
    {"shape": [4, 0], "dtype": "float64"},
    {"shape": [], "dtype": "float32"},
]


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym026", TARGET])
def test_a_batch_has_the_values_of_each_env(target: str) -> None:
    tasks = [vectors.task("odd_arrays:OddArraysEnv", mode, ACTIONS, kwargs=space) for mode in MODES for space in SPACES]
    for made, theirs in zip(tasks, vectors.inside(target, tasks), strict=True):
        assert vectors.played(target, made) == theirs
