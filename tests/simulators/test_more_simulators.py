"""More real simulators: their known peculiarities arrive as in their own interpreters.

Run those with the marker ``long`` by hand: ``pytest tests/simulators -m long``.
"""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from support import plays, remote
from support.opened import opened
from support.targets import TARGETS

from gym_service.errors import ApiMismatch, EnvError
from gym_service.testing import check_service_env
from gym_service.testing.in_target import trajectory

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Simulator(NamedTuple):
    """How to play a simulator and compare it with a bare process."""

    target: str
    env_id: str
    module: str
    action_space: spaces.Space[Any]
    steps: int
    library: str = "gymnasium"
    kwargs: Mapping[str, Any] = {}
    render_mode: str | None = "rgb_array"


def by_hand(*simulator: Any) -> Any:
    return pytest.param(Simulator(*simulator), id=simulator[0], marks=pytest.mark.long)


SIMULATORS = [
    pytest.param(
        Simulator("minigrid-2.3.1", "MiniGrid-DoorKey-8x8-v0", "minigrid", spaces.Discrete(7), 40), id="minigrid-2.3.1"
    ),
    pytest.param(
        Simulator("mo-gymnasium", "deep-sea-treasure-v0", "mo_gymnasium", spaces.Discrete(4), 20), id="mo-gymnasium"
    ),
    by_hand("miniworld", "MiniWorld-Hallway-v0", "miniworld", spaces.Discrete(3), 15),
]


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_simulator_gives_what_it_gives_inside_its_interpreter(simulator: Simulator) -> None:
    python = TARGETS[simulator.target].python()
    plan = plays.plan(
        simulator.env_id,
        simulator.action_space,
        simulator.steps,
        kwargs=dict(simulator.kwargs),
        imports=[simulator.module],
        library=simulator.library,
        render_mode=simulator.render_mode,
        render_every=10,
    )
    ours = remote.played(plan, python)
    assert sum(record[1] == "$.frame" and record[2].startswith("numpy array |u1 (") for record in ours) >= 2
    plays.assert_same(ours, plays.in_process(python, [plan])[0])


def test_a_reward_of_several_numbers() -> None:
    with opened("deep-sea-treasure-v0", "mo_gymnasium", "mo-gymnasium") as env:
        env.reset(seed=1)
        reward = env.step(3)[1]
        assert (reward.dtype, reward.shape) == (np.float32, (2,))
        assert env.unwrapped.reward_space.shape == (2,)
        assert reward in env.unwrapped.reward_space


@pytest.mark.long
def test_procgen_says_that_it_cannot_be_seeded() -> None:
    """Its ``seed()`` takes nothing: its constructor chooses the levels."""
    kwargs = {"start_level": 3, "num_levels": 1, "rand_seed": 5}
    with opened("procgen-coinrun-v0", "procgen", "procgen", kwargs=kwargs) as env:
        with pytest.raises(ApiMismatch, match=r"its seed\(\) takes none either"):
            env.reset(seed=5)
        observations = [env.reset()[0], *(env.step(action)[0] for action in (7, 7, 3, 1))]
    assert {(one.dtype.name, one.shape) for one in observations} == {("uint8", (64, 64, 3))}
    script = (
        "import gym, hashlib, sys, procgen, numpy\n"
        f"env = gym.make('procgen-coinrun-v0', **{kwargs}).unwrapped\n"
        "found = [env.reset()] + [env.step(action)[0] for action in (7, 7, 3, 1)]\n"
        "print(hashlib.sha256(numpy.stack(found).tobytes()).hexdigest())"
    )
    done = subprocess.run([TARGETS["procgen"].python(), "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.stdout.split()[-1:] == [hashlib.sha256(np.stack(observations).tobytes()).hexdigest()], done.stderr


@pytest.mark.long
def test_highway_envs_configure_changes_both_spaces() -> None:
    """Its ``info["action"]`` after reset is a sample that no seed determines, so it is compared with itself."""
    keys = {"target": "highway-env", "wrappers": ["recorder:Recorder"], "render_mode": "rgb_array"}
    with opened("highway-fast-v0", "highway_env", **keys) as env:
        ours: list[Any] = [env.reset(seed=1), *(env.step(action) for action in (0, 1, 4)), env.render()]
        env.unwrapped.configure({"action": {"type": "ContinuousAction"}, "observation": {"type": "OccupancyGrid"}})
        ours.append(env.reset(seed=1))
        assert env.action_space == spaces.Box(-1, 1, (2,), np.float32)
        assert env.observation_space.shape == ours[-1][0].shape == (4, 11, 11)
        ours.append(env.step(env.action_space.sample()))
        assert [trajectory.text(result) for result in ours] == env.recorded


@pytest.mark.long
def test_sokoban_of_old_under_gym_026() -> None:
    """Its rooms come from numpy's global generator, which its ``seed()`` does not seed."""
    with opened("Sokoban-small-v0", "gym_sokoban", "sokoban", render_mode="rgb_array") as env:
        observation, info = env.reset(seed=1)
        assert info == {}
        results = [env.step(action) for action in (1, 2, 3, 4)]
        frame = env.render()
        assert {one.shape for one in (observation, *(result[0] for result in results), frame)} == {(112, 112, 3)}
        assert [result[2:4] for result in results] == [(False, False)] * 4
        assert {"action.name", "action.moved_player", "action.moved_box"} <= results[0][4].keys()
        assert env.unwrapped.room_state.shape == (7, 7)


@pytest.mark.long
def test_nethack_ends_with_a_status() -> None:
    with opened("NetHackScore-v0", "nle", "nle", wrappers=["recorder:Recorder"]) as env:
        env.call("seed", 1, 2, False)
        ours = [env.reset(), *(env.step(action) for action in (0, 1, 2, 3))]
        assert [trajectory.text(result) for result in ours] == env.recorded
        status = ours[-1][4]["end_status"]
        assert (type(status).__name__, status.name, int(status)) == ("StepStatus", "RUNNING", 0)


@pytest.mark.long
def test_trading_envs_have_positions() -> None:
    with opened("forex-v0", "gym_anytrading", "anytrading") as env:
        env.reset(seed=1)
        infos = [env.step(action)[4] for action in (0, 1, 1)]
        assert {type(info["position"]).__name__ for info in infos} == {"Positions"}
        assert {info["position"].name for info in infos} <= {"Short", "Long"}
        assert infos[0]["position"] == type(infos[0]["position"])[infos[0]["position"].name]


@pytest.mark.long
def test_panda_is_compared_by_forms() -> None:
    found = check_service_env(
        "PandaReach-v3",
        python=str(TARGETS["panda"].python()),
        imports=["panda_gym"],
        deterministic=False,
        steps=60,
        checks=["parity"],
    )
    assert {finding.check: finding.outcome for finding in found} == {"simulator": "passed", "parity": "passed"}


@pytest.mark.long
def test_simulators_that_parse_the_command_line_when_they_are_imported() -> None:
    """absl.app and tyro, with an entry's command line and without one."""
    keys = {"entry_point": "flags_at_import:FlagsEnv", "target": "at-import"}
    with opened("flags", **keys) as env:
        assert (env.unwrapped.arguments, env.unwrapped.size, env.unwrapped.level) == ([""], 2, 1)
    with opened("flags", argv=["sim", "--level=3", "--size=5"], **keys) as env:
        assert (env.unwrapped.size, env.unwrapped.level) == (5, 3)


# -- MuJoCo, in a mount namespace without some of the drivers -------------------------------------------------------

EGL = ("libEGL*.so*",)
ALL_DRIVERS = (*EGL, "libOSMesa.so*", "libGL.so*", "libGLX*.so*", "libOpenGL.so*", "libglapi.so*")
VERSIONS = [
    pytest.param("mujoco-2", "InvertedPendulum-v4", id="mujoco-2.3.7"),
    pytest.param("mujoco-3", "InvertedPendulum-v5", id="mujoco-3.8.1", marks=pytest.mark.long),
    pytest.param("mujoco-4", "InvertedPendulum-v5", id="mujoco-4.0.0", marks=pytest.mark.long),
]


def without(hidden: tuple[str, ...], python: Path, folder: Path) -> Path:
    """An interpreter that sees these libraries as empty files. Skips where no mount namespace can be made."""
    empty = folder / "empty"
    empty.touch()
    files = {path.resolve() for pattern in hidden for path in Path("/usr/lib/x86_64-linux-gnu").glob(pattern)}
    mounts = " && ".join(f"mount --bind {empty} {path}" for path in sorted(files)) or "true"
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec unshare -m sh -c \'{mounts} && exec "$0" "$@"\' {python} "$@"\n')
    program.chmod(0o755)
    if subprocess.run([program, "-c", ""], capture_output=True).returncode:
        pytest.skip("a mount namespace is missing: this takes root and unshare")
    return program


@pytest.mark.parametrize(("target", "env_id"), VERSIONS)
def test_mujoco_without_a_renderer_gives_its_state(
    target: str, env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In-process it works, and the available drivers decide what draws."""
    python = TARGETS[target].python()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    states = []
    for hidden in (EGL, ALL_DRIVERS):
        program = without(hidden, python, tmp_path)
        with opened(env_id, target=target, python=str(program), render_mode="rgb_array") as env:
            states.append(trajectory.text([env.reset(seed=1), env.step(np.zeros(1, np.float32))]))
            if hidden == EGL:
                assert env.render().shape == (480, 480, 3)
                continue
            with pytest.raises(EnvError) as caught:
                env.render()
            assert "no renderer was set, since none was seen to work (egl: " in str(caught.value)
    assert states[0] == states[1]
