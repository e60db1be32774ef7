"""Opens multi-agent envs through gym-service, and closes them after the test. Knows gym_service and the interpreters.

Python 3.10 and up; needs PettingZoo: without it, a module that imports this is skipped, and fails on CI.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import gym_service
from gym_service.testing.in_target import trajectory
from support import agent_play, plays
from support.paths import ENVS
from support.targets import TARGETS

if not importlib.util.find_spec("pettingzoo") and os.environ.get("CI") != "true":
    pytest.skip("PettingZoo is missing on this side (python3 project.py venv)", allow_module_level=True)

TARGET = "py312-gymnasium14"
Moments = list[list[Any]]


def task(api: str, entry_point: str, steps: int = 60, **given: Any) -> dict[str, Any]:
    """A run, described for both sides; see ``agent_play.py``."""
    return {"kwargs": {}, "seed": 5, "render_every": 0, **given, "api": api, "entry_point": entry_point, "steps": steps}


@contextmanager
def opened(api: str, entry_point: str, target: str = TARGET, **given: Any) -> Iterator[Any]:
    """The env of an entry point, in a target of tests/support/targets.py; by default one of tests/fixture_envs."""
    make = gym_service.make_parallel if api == "parallel" else gym_service.make_aec
    where = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)]}
    env = make("an env of several agents", **{**where, **given}, entry_point=entry_point)
    try:
        yield env
    finally:
        env.close()


def played(found: dict[str, Any], target: str = TARGET, **given: Any) -> Moments:
    """The moments of a task, played through gym-service."""
    with opened(found["api"], found["entry_point"], target, kwargs=found["kwargs"], **given) as env:
        return agent_play.play(env, found, trajectory)


def in_process(tasks: Sequence[dict[str, Any]], target: str = TARGET) -> list[Moments]:
    """The moments of each task, played in the target's own process."""
    python: Path = TARGETS[target].python()
    return plays.run_script(agent_play.__file__, python, python, tasks)
