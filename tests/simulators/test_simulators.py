"""Real simulators, each in its own venv: through gym-service they return the same as in-process."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pytest
from gymnasium import spaces
from support import plays, remote
from support.opened import opened
from support.paths import REPOSITORY
from support.targets import TARGETS, find_uv

from gym_service.client.spaces import ForeignSpace
from gym_service.testing.in_target import trajectory

pytestmark = pytest.mark.real


class Simulator(NamedTuple):
    """How to play a simulator. The steps end before the episode does: some simulators ignore all seeds but one."""

    target: str
    env_id: str
    module: str
    action_space: spaces.Space[Any]
    steps: int
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - read alone
    library: str = "gymnasium"
    transport: str = "unix"
    needs_egl: bool = False
    prefork: bool = False


def unit_box(size: int) -> spaces.Box:
    return spaces.Box(-1, 1, (size,), np.float32)


PIXELS, STATE = {"obs_type": "pixels_agent_pos"}, {"obs_type": "state"}
REACH = {"env_name": "reach-v3", "seed": 42}  # its goals depend only on this seed, not on reset's
ALOHA = "gym_aloha/AlohaTransferCube-v0", "gym_aloha", unit_box(14)
PUSHT = "gym_pusht/PushT-v0", "gym_pusht", spaces.Box(0, 512, (2,), np.float32)
SIMULATORS = {
    "pusht pixels": Simulator("pusht", *PUSHT, 120, PIXELS),
    "pusht state": Simulator("pusht", *PUSHT, 200, STATE),
    "pusht stdio": Simulator("pusht", *PUSHT, 40, PIXELS, transport="stdio"),
    "aloha": Simulator("aloha", *ALOHA, 12, PIXELS, needs_egl=True),
    "aloha forked": Simulator("aloha", *ALOHA, 12, PIXELS, needs_egl=True, prefork=True),
    "bullet": Simulator("bullet-gym021", "HalfCheetahBulletEnv-v0", "pybullet_envs", unit_box(6), 300, library="gym"),
    "minigrid": Simulator("minigrid", "MiniGrid-DoorKey-8x8-v0", "minigrid", spaces.Discrete(7), 200),
    "panda": Simulator("panda", "PandaReach-v3", "panda_gym", unit_box(3), 45),
    "panda stdio": Simulator("panda", "PandaReach-v3", "panda_gym", unit_box(3), 20, transport="stdio"),
    "metaworld": Simulator("metaworld", "Meta-World/MT1", "metaworld", unit_box(4), 100, REACH, needs_egl=True),
    "ale": Simulator("ale", "ALE/Pong-v5", "ale_py", spaces.Discrete(6), 300),
}


@cache
def egl_missing(target: str) -> str:
    """MuJoCo's error in a target that cannot render a frame without a display; empty if it can."""
    script = "import mujoco; context = mujoco.GLContext(8, 8); context.make_current(); context.free()"
    environ = {**os.environ, "MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl"}
    done = subprocess.run([TARGETS[target].python(), "-c", script], env=environ, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


def skip_without_egl(target: str) -> None:
    if missing := egl_missing(target):
        skip(f"MuJoCo cannot render: {missing} (apt-get install libegl1 libegl-mesa0 libgl1 libgles2)")


def skip(what_is_missing: str) -> NoReturn:
    """Skip. On CI, which can install everything, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what_is_missing)
    pytest.skip(what_is_missing)


# Each has another one of its kind that the ordinary form plays.
ONLY_LONG = ("aloha forked", "panda stdio", "pusht state")
NAMES = [pytest.param(name, marks=pytest.mark.long if name in ONLY_LONG else ()) for name in SIMULATORS]


@pytest.mark.parametrize("name", NAMES)
def test_a_simulator_gives_what_it_gives_inside_its_interpreter(name: str) -> None:
    simulator = SIMULATORS[name]
    python = TARGETS[simulator.target].python()
    if simulator.needs_egl:
        skip_without_egl(simulator.target)
    plan = plays.plan(
        simulator.env_id,
        simulator.action_space,
        simulator.steps,
        kwargs=simulator.kwargs,
        imports=[simulator.module],
        library=simulator.library,
        render_mode="rgb_array",
        render_every=max(10, simulator.steps // 10),
    )
    ours = remote.played(plan, python, transport=simulator.transport, prefork=simulator.prefork)
    assert sum(record[1] == "$.frame" and record[2].startswith("numpy array |u1 (") for record in ours) >= 2
    plays.assert_same(ours, plays.in_process(python, [plan])[0])


def test_what_xarm_gives_arrives() -> None:
    """With its old mujoco, two runs of xarm never are bit-equal, not even in-process, so it is compared with itself."""
    skip_without_egl("xarm")
    kwargs = {**PIXELS, "render_mode": "rgb_array"}
    with opened("gym_xarm/XarmLift-v0", "gym_xarm", "xarm", kwargs=kwargs, wrappers=["recorder:Recorder"]) as env:
        env.action_space.seed(7)
        ours = [env.reset(seed=123), *(env.step(env.action_space.sample()) for _ in range(25)), env.render()]
        theirs = env.recorded
    assert ours[0][0]["pixels"].shape == (84, 84, 3)
    assert ours[-1].shape == (680, 680, 3)
    assert [trajectory.text(result) for result in ours] == theirs


def real(name: str, **given: Any) -> Any:
    simulator = SIMULATORS[name]
    return opened(simulator.env_id, simulator.module, simulator.target, kwargs=simulator.kwargs, **given)


def test_the_space_of_a_class_that_only_the_simulator_has() -> None:
    with real("minigrid") as env:
        space = env.observation_space["mission"]
        assert type(space) is ForeignSpace
        assert space.class_name == "minigrid.core.mission.MissionSpace"
        observation, _ = env.reset(seed=1)
        assert observation["mission"] == "use the key to open the door and then get to the goal"
        assert env.observation_space.contains(observation)
        assert not env.observation_space.contains({**observation, "mission": 7})


def test_a_goal_env_computes_rewards_there() -> None:
    """For many goals at once, as hindsight replay does."""
    with real("panda") as env:
        env.reset(seed=1)
        observation, reward, _, _, info = env.step(env.action_space.sample())
        goals = observation["achieved_goal"], observation["desired_goal"]
        assert trajectory.text(env.unwrapped.compute_reward(*goals, info)) == trajectory.text(
            env.call("compute_reward", *goals, {})
        )
        assert float(env.unwrapped.compute_reward(*goals, info)) == float(reward)
        achieved = np.stack([goals[0], goals[1]])
        rewards = env.unwrapped.compute_reward(achieved, np.stack([goals[1]] * 2), {})
        assert rewards.shape == (2,)
        assert rewards[1] == 0  # the reward for a goal that is reached


def test_what_pybullet_prints_from_c_is_kept() -> None:
    for transport in ("unix", "stdio"):
        with real("panda", transport=transport) as env:
            env.reset(seed=1)
            assert "pybullet build time" in env._connection._peer.tail()


def test_the_goal_of_pusht_can_be_read_and_moved() -> None:
    with real("pusht state") as env:
        env.reset(seed=1)
        goal = env.unwrapped.goal_pose
        assert goal.shape == (3,)
        env.unwrapped.goal_pose = goal + 1
        assert np.array_equal(env.unwrapped.goal_pose, goal + 1)
        assert env._max_episode_steps == 300


# -- two simulators that no environment can hold ------------------------------------------------------------------


def test_the_two_of_the_example_cannot_share_an_environment(tmp_path: Path) -> None:
    uv = find_uv()
    if uv is None:
        skip("uv is missing, which is asked whether they could")
    wanted = tmp_path / "both.in"
    wanted.write_text("gym-xarm==0.1.1\ngym-aloha==0.1.5\n")
    command = [*uv, "pip", "compile", "--no-config", "--python-version", "3.11", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    words = " ".join(done.stderr.split())
    assert done.returncode == 1, words
    assert "No solution found when resolving dependencies" in words
    assert "mujoco" in words


def test_the_example_steps_them_side_by_side() -> None:
    for target in ("xarm", "aloha"):
        TARGETS[target].python()
        skip_without_egl(target)
    chosen = [part for name in ("xarm", "aloha") for part in (f"--{name}", str(TARGETS[name].folder))]
    command = [sys.executable, str(REPOSITORY / "examples" / "two_simulators.py"), *chosen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:4]] for cells in map(cells_of, done.stdout.splitlines())
    }
    old, new = (int(version.split(".")[0]) for version in rows["mujoco"])
    assert old < 3 <= new
    assert rows["steps"] == ["20", "20"]
    assert len(set(rows["process"])) == 2
    assert rows["gymnasium"] == ["0.29.1", "1.4.0"]


def cells_of(line: str) -> list[str]:
    return [*line.replace("┃", "│").split("│"), "", "", "", ""]
