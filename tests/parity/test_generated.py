"""A differential fuzz test: generated envs return through gym-service what they return in their own interpreter.

The long form, by hand: ``pytest tests/parity/test_generated.py -m long``; GYM_SERVICE_FUZZ_ENVS sets the number of envs
per test there. A failure names the number of the env, which reproduces it.
"""

import os
import random
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
from support import plays, vectors
from support.opened import TARGET, opened
from support.targets import TARGETS
from support.vector_reference import MODES

from gym_service.testing import checks
from gym_service.testing.in_target import reference_run, trajectory

SHORT, LONG = 25, int(os.environ.get("GYM_SERVICE_FUZZ_ENVS", "400"))
STEPS = 12
SEEDS: Sequence[Any] = (3, 0, 2**40)
# (target, class, the wrapper in the simulator)
EVERY = [
    (target, name, wrapper)
    for target in ("py36-gym021", "py38-gym025", "py38-gym026", "py310-gymnasium029", TARGET)
    for name in ("Generated", "OldGenerated", "AskedGenerated", "PlainGenerated")
    for wrapper in ("", "generated:Noting")
    if not (name in ("Generated", "PlainGenerated") and target in ("py36-gym021", "py38-gym025"))
    # A wrapper of today's libraries passes a seed and options to a reset() that takes neither.
    and not (wrapper and name in ("OldGenerated", "PlainGenerated") and target not in ("py36-gym021", "py38-gym025"))
]
CHOSEN = [("py36-gym021", "OldGenerated", ""), (TARGET, "Generated", "generated:Noting")]
SINGLE = [(*case, 0, SHORT) for case in CHOSEN]
SINGLE += [pytest.param(*case, 1000 * at, LONG, marks=pytest.mark.long) for at, case in enumerate(EVERY)]
BATCHED: list[Any] = [(TARGET, "Fixed", 1, 0, 8)]
BATCHED += [
    pytest.param(target, name, workers, 1000 * workers, LONG // 8, marks=pytest.mark.long)
    for target, name in ((TARGET, "Fixed"), ("py38-gym026", "Fixed"))
    for workers in (1, 2)
]


def task_of(number: int, entry_point: str, wrapper: str) -> dict[str, Any]:
    draw = random.Random(number)
    actions = [trajectory.to_data(draw.choice([0, 1, 2.5, "left", [1, 2], None])) for _ in range(STEPS)]
    plan = {"id": "", "imports": [], "library": None, "render_mode": None, "render_every": 0}
    plan |= {"kwargs": {"number": number}, "seed": draw.choice(SEEDS), "options": trajectory.NONE, "actions": actions}
    made = plays.task(plan)
    made["recipe"] |= {"entry_point": entry_point, "id": "", "wrappers": [wrapper] if wrapper else []}
    return made


@pytest.mark.parametrize(("target", "name", "wrapper", "first", "count"), SINGLE)
def test_generated_envs(target: str, name: str, wrapper: str, first: int, count: int) -> None:
    entry_point = f"generated:{name}Env"
    python = TARGETS[target].python()
    tasks = [task_of(number, entry_point, wrapper) for number in range(first, first + count)]
    outputs = plays.run_script(reference_run.__file__, python, python, tasks)
    given = {"wrappers": [wrapper]} if wrapper else {}
    steps = 0
    with warnings.catch_warnings(), opened("a", target=target, entry_point=entry_point, **given) as env:
        warnings.simplefilter("ignore")
        for task, theirs in zip(tasks, outputs, strict=True):
            number = task["recipe"]["kwargs"][1][0][1][1]
            assert not theirs["failure"], theirs["failure"]
            env.unwrapped.number = number
            for space in ("observation_space", "action_space"):
                ours = [list(item[:3]) for item in reference_run.space_items(trajectory, getattr(env, space))]
                assert ours == theirs["facts"][space], (number, space)
            records = [record[:4] for record in checks.remote_play(env, task["plays"][0])]
            steps += len(records)
            try:
                plays.assert_same(records, theirs["records"])
            except AssertionError as error:
                raise AssertionError(f"the env of number {number}: {error}") from error
    assert steps > 10 * count


@pytest.mark.parametrize(("target", "name", "workers", "first", "count"), BATCHED)
@pytest.mark.parametrize("mode", MODES)
def test_generated_vector_envs(mode: str, target: str, name: str, workers: int, first: int, count: int) -> None:
    cases = [("number", number) for number in range(first, first + count)]
    actions = [[index % 2] * 3 for index in range(STEPS)]
    task = vectors.task(f"generated:{name}Env", mode, actions, cases=cases)
    theirs = vectors.inside(target, [task])[0]
    ours = vectors.played(target, task, workers)
    per_case = len(theirs) // count
    for at in range(0, len(theirs), per_case):
        compare(
            f"the env of number {first + at // per_case}", ours[at : at + per_case], theirs[at : at + per_case], workers
        )


def compare(what: str, ours: Sequence[str], theirs: Sequence[str], workers: int) -> None:
    for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        # Gymnasium's errors while it combines results come here after all envs have made their step, and in
        # SyncVectorEnv in the middle: docs/conversions.md. An error that an env raises is not such an error.
        if other.startswith("raised ") and " is bad" not in other and "AssertionError" not in other:
            assert one.startswith("raised "), f"{what}, call {at}"
            return
        assert one == other, f"{what}, call {at}"
        if workers > 1 and one.startswith("raised "):  # the envs of the other workers have made their steps
            return
