"""The runs that parity tests compare, and how they are played inside the target.

Knows jobs (see gym_service/testing/in_target/trajectory.py) and the interpreters of the tests. Python 3.10 and up.
"""

import json
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gym_service_launcher.standalone import env_vars
from gymnasium import spaces

from gym_service.testing import trajectory_diff
from gym_service.testing.in_target import reference_run, trajectory
from support.paths import ENVS

STEPS = 500
IN_PROCESS_TIMEOUT_S = 240

Job = dict[str, Any]
Moments = list[list[Any]]

CAMERA_ACTIONS = spaces.Dict(
    OrderedDict(move=spaces.Box(-1, 1, (7,), np.float32), grip=spaces.Discrete(3), switches=spaces.MultiBinary(4))
)
PICTURES = {"render_mode": "rgb_array", "render_every": 25}


def plan(env_id: str, action_space: spaces.Space[Any], steps: int = STEPS, **given: Any) -> Job:
    """A job with actions from ``sample()``; every second one has Python's ints in place of numpy's."""
    action_space.seed(7)
    actions = [action_space.sample() for _ in range(steps)]
    actions[1::2] = [with_python_ints(action) for action in actions[1::2]]
    made = {"id": env_id, "library": "gymnasium", "kwargs": {}, "imports": [], "seed": 123}
    made |= {"render_mode": None, "render_every": 0, "actions": [trajectory.to_data(action) for action in actions]}
    return made | given | {"options": trajectory.to_data(given.get("options"))}


def with_python_ints(action: Any) -> Any:
    if isinstance(action, dict):
        return {key: with_python_ints(part) for key, part in action.items()}
    return int(action) if isinstance(action, np.integer) else action


def jobs_for(target: str) -> dict[str, Job]:
    """The jobs that a target can play: before gym 0.26 no options, in 0.21 no images without a display."""
    is_021, is_old = "gym021" in target, "gym02" in target and "gym026" not in target
    pictures = {} if is_021 else PICTURES
    options = None if is_021 else {"low": -0.02, "high": 0.02}
    camera_options = None if is_021 or is_old else {"goal": [1, 2.5], "phase": None}
    plans = {
        "cartpole": plan("CartPole-v1", spaces.Discrete(2), options=options, **pictures),
        "pendulum": plan("Pendulum-v1", spaces.Box(-2, 2, (1,), np.float32), **pictures),
        "frozenlake": plan("FrozenLake-v1", spaces.Discrete(4), render_mode="ansi", render_every=10),
        "blackjack": plan("Blackjack-v1", spaces.Discrete(2), kwargs={"natural": True}, **pictures),
        "camera": plan("Camera-v0", CAMERA_ACTIONS, imports=["camera_env"], options=camera_options, **PICTURES),
    }
    if not is_old:
        several = {"render_mode": "rgb_array_list", "render_every": 20}
        plans["frozenlake pictures"] = plan("FrozenLake-v1", spaces.Discrete(4), 60, **PICTURES)
        plans["cartpole lists"] = plan("CartPole-v1", spaces.Discrete(2), 80, **several)
    if "gym025" in target:  # the one version that has both step APIs
        plans["cartpole new steps"] = plan("CartPole-v1", spaces.Discrete(2), 200, kwargs={"new_step_api": True})
    library = "gymnasium" if "gymnasium" in target else "gym"
    return {name: made | {"library": library} for name, made in plans.items()}


def in_process(python: Path, plans: Sequence[Job]) -> list[Moments]:
    """The moments of each job, played inside the interpreter. Raises AssertionError if an env raised."""
    outputs = run_script(reference_run.__file__, python, python, [task(plan) for plan in plans])
    for output in outputs:
        assert not output["failure"], f"the env cannot be made inside {python}:\n{output['failure']}"
        assert output["records"], "nothing was played"
        assert output["records"][-1][2] != trajectory.RAISED, output["records"][-1]
    return [output["records"] for output in outputs]


def task(plan: Job) -> dict[str, Any]:
    """The task for the player without gym-service."""
    recipe = {"id": plan["id"], "api": plan["library"], "imports": plan["imports"], "render_mode": plan["render_mode"]}
    recipe |= {"kwargs": trajectory.to_data(plan["kwargs"])}
    recipe |= {"entry_point": None, "max_episode_steps": None, "wrappers": []}
    return {"recipe": recipe, "plays": [plan], "options": None, "until": None}


def run_script(
    script: str, python: Path, target: Path, tasks: Sequence[Any], *more: str, environ: Mapping[str, str] | None = None
) -> list[Any]:
    """Run one of the two players by path, in the environment of a server in the target."""
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder) / "tasks.json", Path(folder) / "outputs.json"
        given.write_text(json.dumps(list(tasks)), encoding="utf-8")
        argv = [str(python), script, str(given), str(output), *more]
        env = env_vars.environment(target, environ or {}, [ENVS])
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=IN_PROCESS_TIMEOUT_S)
        assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return json.loads(output.read_text(encoding="utf-8"))


def assert_same(ours: Sequence[Sequence[Any]], theirs: Sequence[Sequence[Any]]) -> None:
    """Raise AssertionError with the first difference."""
    found = trajectory_diff.first(theirs, ours)
    unknown = (lambda _: ""), (lambda _: "")
    assert found is None, trajectory_diff.describe_difference(found, unknown, ("in the simulator", "here"))


def main() -> None:
    """Write a target's jobs to stdout, for studying a difference by hand."""
    json.dump(list(jobs_for(sys.argv[1]).values()), sys.stdout)


if __name__ == "__main__":
    main()
