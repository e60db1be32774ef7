"""An object that an env has returned: later changes to it do not change the result, as in a SyncVectorEnv."""

import numpy as np
import pytest
from support import vectors
from support.opened import TARGET, opened
from support.vector_reference import MODES

ACTIONS = [[0, 1, 2], [3, 2, 1], [1, 0, 3], [2, 2, 0], [0, 3, 1]]
KWARGS = [{"shared": shared, "observation": observation} for shared in (False, True) for observation in (False, True)]


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025", "py38-gym026", "py310-gymnasium029", TARGET])
def test_infos_are_as_they_were_and_observations_as_a_sync_vector_env_has_them(target: str) -> None:
    chosen = [(mode, kwargs) for mode in MODES for kwargs in KWARGS if mode == "SameStep" or kwargs == KWARGS[-1]]
    tasks = [vectors.task("reusing:ReusingEnv", mode, ACTIONS, kwargs=kwargs) for mode, kwargs in chosen]
    for made, theirs in zip(tasks, vectors.inside(target, tasks), strict=True):
        assert vectors.played(target, made) == theirs


def test_large_arrays_are_copied_when_they_are_returned() -> None:
    """Until the message is sent, the wire refers to arrays of a page or more in place."""
    kwargs = {"shared": True, "size": 5000}
    tasks = [vectors.task("reusing:ReusingEnv", "SameStep", ACTIONS, kwargs=kwargs)]
    for made, theirs in zip(tasks, vectors.inside(TARGET, tasks), strict=True):
        assert vectors.played(TARGET, made) == theirs


def test_a_list_is_as_it_was_when_it_was_returned() -> None:
    """Here a SyncVectorEnv returns the list with its later changes; docs/conversions.md says so."""
    with vectors.opened(TARGET, vectors.task("reusing:ListEnv", "SameStep", ACTIONS)) as envs:
        envs.reset(seed=1)
        envs.step(np.array(ACTIONS[0]))
        infos = envs.step(np.array(ACTIONS[1]))[4]
        assert list(infos["final_info"]["list"]) == [[1, 2]] * 3


def test_what_a_single_env_returned_does_not_change() -> None:
    with opened("reusing", entry_point="reusing:ReusingEnv", kwargs={"observation": True}) as env:
        first, _ = env.reset()
        second, _, _, _, info = env.step(1)
        env.step(2)
        assert (first.tolist(), second.tolist()) == ([-1, 0], [1, 1])
        assert (info["count"], info["inner"], info["array"].tolist()) == (1, {"deep": 11}, [1, 1, 1])
