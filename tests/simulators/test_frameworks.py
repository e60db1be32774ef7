"""Real arrays of other libraries, and real simulators that are vector envs: equal to the run in their own interpreter.

The one conversion of ``docs/conversions.md`` is applied to both sides. Tests that need a framework or a large download
are ``long``: ``pytest tests/simulators/test_frameworks.py -m long``.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from support import plays, remote, vectorized_reference
from support.opened import opened
from support.paths import ENVS
from support.targets import REPOSITORY, TARGETS

import gym_service
from gym_service.errors import EnvError
from gym_service.testing.in_target import reference_run, trajectory

pytestmark = [pytest.mark.real, pytest.mark.slow]
# jax compiles during the first calls.
PATIENT = {"start": 300.0, "reset": 300.0, "step": 300.0}
IS_OLD_CLIENT = int(gymnasium.__version__.partition(".")[0]) < 1


@pytest.mark.parametrize("target", ["py38-gym021", "py38-gym026", "py310-gymnasium029"])
def test_lazy_frames(target: str) -> None:
    python = TARGETS[target].python()
    library = "gymnasium" if "gymnasium" in target else "gym"
    plan = plays.plan("Stacked-v0", spaces.Discrete(2), 60, imports=["frame_stacks"], library=library)
    ours = remote.played(plan, python)
    assert sum(record[1] == "$.observation" and "(4, 4)" in record[2] for record in ours) > 60
    plays.assert_same(ours, plays.in_process(python, [plan])[0])


@pytest.mark.long
@pytest.mark.parametrize("env_id", ["phys2d/CartPole-v1", "phys2d/Pendulum-v0", "tabular/Blackjack-v0"])
def test_jax(env_id: str) -> None:
    python = TARGETS["jax"].python()
    space = spaces.Box(-2, 2, (1,), np.float32) if "Pendulum" in env_id else spaces.Discrete(2)
    plan = plays.plan(env_id, space, 40)
    ours = remote.played(plan, python)
    plays.assert_same(ours, plays.in_process(python, [plan])[0])
    with opened(env_id, target="jax") as env:
        env.reset(seed=1)
        assert env.target["arrays"] == "jax cpu"


@pytest.mark.long
def test_torch() -> None:
    python = TARGETS["torch"].python()
    plan = plays.plan("Torch-v0", spaces.Box(-1, 1, (3,), np.float32), 8, imports=["torch_env"])
    ours = remote.played(plan, python)
    assert any("<c8" in record[2] for record in ours)
    plays.assert_same(ours, plays.in_process(python, [plan])[0])
    with opened("Torch-v0", "torch_env", "torch") as env:
        env.reset(seed=1)
        assert env.target["arrays"] == "torch cpu"


@pytest.mark.long
@pytest.mark.parametrize("failing", [0, 2])
def test_torch_in_a_batch_of_which_one_reset_fails(failing: int) -> None:
    given = {"python": TARGETS["torch"].python(), "pythonpath": [str(ENVS)], "workers": 1}
    envs = gym_service.make_vec("fails", 3, entry_point="torch_env:FirstResetFails", **given)
    try:
        envs.set_attr("fails", [index == failing for index in range(3)])
        envs.reset_async()
        with pytest.raises(EnvError, match="this reset fails"):
            envs.recv(3)
        others = sorted({0, 1, 2} - {failing})
        assert sorted(envs.recv(2)[-1]) == others
        envs.send(np.ones((2, 3), np.float32), others)
        assert envs.recv(2)[0].tolist() == [[1.0] * 3] * 2
    finally:
        envs.close()


@pytest.mark.long
def test_two_versions_of_torch() -> None:
    """A simulator with one torch drives a client with another, in another Python."""
    program = REPOSITORY / "tests/libraries/programs/two_torches.py"
    client, target = TARGETS["mani-skill"].python(), TARGETS["torch"].python()
    folders = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "launcher")))
    done = subprocess.run(
        [str(client), str(program), str(target), str(ENVS)],
        env={**os.environ, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch 2.13.0"), done.stdout
    assert "torch 1.12.1" in done.stdout


# ManiSkill's env is a batch of one, but an Env; the others are those of tests/fixture_envs.
LONG_SINGLE: dict[str, tuple[str, str, dict[str, Any], spaces.Space[Any]]] = {
    "mani-skill": (
        "Empty-v1",
        "torch cpu",
        {"imports": ["mani_skill.envs"], "kwargs": {"sim_backend": "cpu", "render_backend": "none"}},
        spaces.Box(-1, 1, (8,), np.float32),
    ),
    "gymnax": ("Gymnax-v0", "jax cpu", {"imports": ["gymnax_envs"]}, spaces.Discrete(2)),
    "brax": ("Brax-v0", "jax cpu", {"imports": ["brax_envs"], "library": "gym"}, spaces.Box(-3, 3, (1,), np.float32)),
}


@pytest.mark.long
@pytest.mark.parametrize("target", LONG_SINGLE)
def test_simulators_of_tensors(target: str) -> None:
    env_id, arrays, given, space = LONG_SINGLE[target]
    python = TARGETS[target].python()
    plan = plays.plan(env_id, space, 40, **given)
    ours = remote.played(plan, python, timeouts=PATIENT)
    assert len(ours) > 40 * 5
    plays.assert_same(ours, plays.in_process(python, [plan])[0])
    kwargs = given.get("kwargs", {})
    with opened(env_id, *given["imports"], target=target, timeouts=PATIENT, kwargs=kwargs) as env:
        env.reset(seed=1)
        assert env.target["arrays"] == arrays


# (target, the task without its actions, the actions)
IDS4 = np.arange(4, dtype=np.int32)
VECTORIZED: dict[str, tuple[str, dict[str, Any], Any]] = {
    "atari": ("ale", {"entry_point": "gymnasium:make_vec", "imports": ["ale_py"]}, np.array([0, 2, 3])),
    "gym3": ("procgen", {"entry_point": "procgen:ProcgenGym3Env", "wrappers": ["gym3:ToBaselinesVecEnv"]}, IDS4),
    "envpool": ("envpool", {"entry_point": "envpool:make_gymnasium"}, np.array([0, 1, 1, 0], np.int32)),
    "envpool, by ids": ("envpool", {"entry_point": "envpool:make_gymnasium", "further": (IDS4[::-1],)}, IDS4 % 2),
    "gymnax": ("gymnax", {"entry_point": "gymnax_envs:vector"}, np.array([0, 1, 1], np.int32)),
    "brax": ("brax", {"entry_point": "brax_envs:vector"}, np.array([[0.5], [-1], [2]], np.float32)),
}
KWARGS: dict[str, dict[str, Any]] = {
    "atari": {"id": "ALE/Pong-v5", "num_envs": 3},
    "gym3": {"num": 4, "env_name": "coinrun", "rand_seed": 5, "num_levels": 3, "start_level": 7},
    "envpool": {"task_id": "CartPole-v1", "num_envs": 4, "seed": 3},
    "envpool, by ids": {"task_id": "CartPole-v1", "num_envs": 4, "seed": 3},
    "gymnax": {"num_envs": 3},
    "brax": {"num_envs": 3},
}


@pytest.mark.skipif(IS_OLD_CLIENT, reason="vector envs need Gymnasium 1.0 here")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "atari" else pytest.mark.long) for name in VECTORIZED]
)
@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_vectorized(name: str) -> None:
    target, given, actions = VECTORIZED[name]
    python = TARGETS[target].python()
    seed = 5 if name in ("atari", "gymnax") else None
    task = {"imports": [], "wrappers": [], **given, "kwargs": trajectory.to_data(KWARGS[name])}
    task |= {"seed": trajectory.to_data(seed) if seed is not None else None}
    task |= {"actions": [trajectory.to_data(np.roll(actions, at)) for at in range(60)]}
    task["further"] = trajectory.to_data(given.get("further", ()))
    folder = str(Path(reference_run.__file__).parent)
    theirs = plays.run_script(vectorized_reference.__file__, python, python, [task], folder)[0]
    where = {key: given[key] for key in ("entry_point", "imports", "wrappers") if key in given}
    where["timeouts"] = PATIENT
    env = gym_service.make("x", python=str(python), pythonpath=[str(ENVS)], kwargs=KWARGS[name], **where)
    try:
        ours = list(vectorized_reference.play(trajectory, env, task))
    finally:
        env.close()
    assert len(ours) == 61
    if name in ("gym3", "brax"):  # the documented conversions: an empty info, and one done as two flags
        assert [line.replace("$[0]", "$") for line in ours[0].splitlines() if "$[0]" in line] == theirs[0].splitlines()
        ours = [text.replace("$: tuple 5 items", "$: tuple 4 items") for text in ours[1:]]
        ours = ["\n".join(line for line in text.splitlines() if not line.startswith("$[3]:")) for text in ours]
        ours, theirs = [text.replace("$[4]", "$[3]") for text in ours], theirs[1:]
    assert ours == theirs
