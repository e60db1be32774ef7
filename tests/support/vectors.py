"""Plays the same actions on a remote vector env and on a SyncVectorEnv in the simulator's own interpreter.

Knows the envs of tests/fixture_envs by their entry points. Python 3.10 and up.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import pytest

import gym_service
from gym_service.testing.in_target import reference_run, trajectory
from support import plays, vector_reference
from support.paths import ENVS
from support.targets import TARGETS

if TYPE_CHECKING:
    from gym_service import RemoteVectorEnv

Task = dict[str, Any]
VERSION = tuple(int(part) for part in gymnasium.__version__.split(".")[:2])


def task(entry_point: str, mode: str, actions: Sequence[Sequence[Any]], **given: Any) -> Task:
    """The task for both sides, with as many envs as each step has actions. Skips with a client before 1.4."""
    if VERSION < (1, 4):
        pytest.skip("the vector envs of this client's Gymnasium are older than 1.4")
    made = {"entry_point": entry_point, "id": "", "api": None, "imports": [], "render_mode": None}
    made |= {"kwargs": trajectory.to_data(given.pop("kwargs", {})), "max_episode_steps": None, "wrappers": []}
    data = [[trajectory.to_data(action) for action in step] for step in actions]
    told = {
        name: [(key, trajectory.to_data(value)) for key, value in given.pop(name, ())] for name in ("calls", "cases")
    }
    return {"recipe": made, "count": len(actions[0]), "mode": mode, "actions": data, "seed": 3} | told | given


def inside(target: str, tasks: Sequence[Task], real: str = "real") -> list[list[str]]:
    """The texts of a SyncVectorEnv in the target; ``real`` as the program defines it."""
    python = TARGETS[target].python()
    folder = str(Path(reference_run.__file__).parent)
    return plays.run_script(vector_reference.__file__, python, python, tasks, folder, real)


@contextmanager
def opened(target: str, task: Task, workers: int = 1) -> Iterator["RemoteVectorEnv"]:
    """The remote vector env of a task."""
    recipe = task["recipe"]
    where = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)]}
    where |= {"entry_point": recipe["entry_point"], "kwargs": trajectory.from_data(recipe["kwargs"])}
    envs = gym_service.make_vec("", task["count"], workers=workers, autoreset_mode=task["mode"], **where)
    try:
        yield envs
    finally:
        envs.close()


def played(target: str, task: Task, workers: int = 1) -> list[str]:
    """The texts of the remote vector env."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with opened(target, task, workers) as envs:
            return list(vector_reference.play(trajectory, envs, task))
