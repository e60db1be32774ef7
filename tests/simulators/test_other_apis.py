"""Real simulators of other APIs, each in its own venv: through gym-service they return the same as in-process."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from support import plays, time_step_play
from support.agents import in_process, opened, played, task
from support.opened import opened as opened_env
from support.targets import TARGETS

from gym_service.testing.in_target import trajectory

from pettingzoo.test import (  # isort: skip - the import of support.agents skips this module if it is missing
    api_test,
    parallel_api_test,
    parallel_seed_test,
    seed_test,
)

# The oldest client's PettingZoo always plays 500 cycles in its seed tests, so only the newest client runs these.
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def suite(domain: str, name: str, steps: int = 40, **render: int) -> dict[str, Any]:
    kwargs = {"domain_name": domain, "task_name": name}
    seeded = {**kwargs, "task_kwargs": {"random": 7}}
    found = {"entry_point": "dm_control.suite:load", "kwargs": kwargs, "seed_kwargs": seeded, "steps": steps}
    return {**found, "seed": 7, "render": render or None}


def bsuite(name: str, **seed: int) -> dict[str, Any]:
    kwargs: dict[str, Any] = {"experiment_name": name, "kwargs": {}}
    seeded = {**kwargs, "kwargs": seed}
    found = {"entry_point": "bsuite:load", "kwargs": kwargs, "seed_kwargs": seeded, "steps": 40}
    return {**found, "seed": 7, "render": None}


# The same for all three runs: without it, a server would look for a renderer that works, and the bare player would not.
RENDERER = {"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl"}
TIME_STEPS = {
    "cartpole": suite("cartpole", "swingup"),
    "walker with pixels": suite("walker", "walk", 12, width=64, height=48),
    "finger": suite("finger", "turn_hard"),
    "catch": bsuite("catch", seed=7),
    "cartpole of bsuite": bsuite("cartpole", seed=7),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "finger" else ()) for name in TIME_STEPS]
)
def test_dm_env_gives_what_it_gives_raw_and_what_shimmy_gives(name: str) -> None:
    found = TIME_STEPS[name]
    python = TARGETS["dm-control"].python()
    raw, shimmy = plays.run_script(
        time_step_play.__file__,
        python,
        python,
        [{**found, "kind": kind} for kind in ("raw", "shimmy")],
        environ=RENDERER,
    )
    render: dict[str, Any] = {}
    if found["render"] is not None:
        render = {"render_mode": "rgb_array", "render_kwargs": found["render"]}
    given: dict[str, Any] = {"target": "dm-control", "entry_point": found["entry_point"], "environ": RENDERER}
    with opened_env("an env", **given, kwargs={**found["kwargs"], **render}) as env:
        plays.assert_same(list(time_step_play.play(env, found, trajectory)), shimmy)
    with opened_env("an env", **given, kwargs={**found["seed_kwargs"], **render}) as env:
        plays.assert_same(list(time_step_play.play(env, {**found, "seed": None}, trajectory)), raw)


@pytest.mark.parametrize("cameras", [pytest.param([], marks=pytest.mark.long), ["agentview"]])
def test_robosuite_lift(cameras: list[str]) -> None:
    kwargs: dict[str, Any] = {"env_name": "Lift", "robots": "Panda", "seed": 3, "has_renderer": False, "horizon": 6}
    kwargs |= {"has_offscreen_renderer": bool(cameras), "use_camera_obs": bool(cameras)}
    if cameras:
        kwargs |= {"camera_names": cameras, "camera_heights": 48, "camera_widths": 64, "render_mode": "rgb_array"}
        kwargs |= {"render_kwargs": {"camera_name": "frontview", "width": 64, "height": 48}}
    given: dict[str, Any] = {"target": "robosuite", "entry_point": "robosuite:make", "kwargs": kwargs}
    given["timeouts"] = {"step": 300, "reset": 300}  # numba compiles in the first calls, unless there are cameras
    given["environ"] = {"NUMBA_DISABLE_JIT": "1"} if cameras else {}
    plays_of_it = []
    with opened_env("Lift", **given, wrappers=["recorder_of_old:Recorder"]) as env:
        draw = np.random.RandomState(1)
        results: list[Any] = [env.reset()[0]]
        results += [env.step(draw.uniform(-1, 1, 7)) for _ in range(6)]
        assert env.observation_space.contains(results[0])
        assert [result[2:4] for result in results[1:]] == [(False, False)] * 5 + [(False, True)]
        assert all("success" in result[4] for result in results[1:])
        plays_of_it = env.recorded
        if cameras:
            assert env.render().shape == (48, 64, 3)
            assert results[1][0]["agentview_image"].shape == (48, 64, 3)
    ours = [trajectory.text(results[0]), *(trajectory.text(list(result[:2])) for result in results[1:])]
    assert ours == plays_of_it


PARALLEL = {
    "simple_spread": ("mpe2:simple_spread_v3.parallel_env", 40),
    "pistonball": ("pettingzoo.butterfly:pistonball_v6.parallel_env", 6),
    "knights_archers_zombies": ("pettingzoo.butterfly:knights_archers_zombies_v11.parallel_env", 40),
}
AEC = {
    "simple_spread": ("mpe2:simple_spread_v3.env", 40),
    "pistonball": ("pettingzoo.butterfly:pistonball_v6.env", 3),
    "knights_archers_zombies": ("pettingzoo.butterfly:knights_archers_zombies_v11.env", 20),
    "tictactoe": ("pettingzoo.classic:tictactoe_v3.env", 40),
    "leduc_holdem": ("pettingzoo.classic:leduc_holdem_v4.env", 40),
}
OLD = {"parallel": "pettingzoo.mpe:simple_spread_v2.parallel_env", "aec": "pettingzoo.mpe:simple_spread_v2.env"}


class Opened:
    """Envs for the suites, which close the envs that they make; the first env shares its imports with the others."""

    def __init__(self, api: str, entry_point: str, target: str = "pettingzoo") -> None:
        self._contexts: list[Any] = []
        self._open = partial(opened, api, entry_point, target)

    def __call__(self) -> Any:
        context = self._open()
        self._contexts.append(context)
        return context.__enter__()

    def close(self) -> None:
        for context in self._contexts:
            context.__exit__(None, None, None)


@pytest.mark.parametrize("name", PARALLEL)
def test_pettingzoos_own_tests_of_parallel_envs(name: str) -> None:
    entry_point, cycles = PARALLEL[name]
    make = Opened("parallel", entry_point)
    try:
        parallel_api_test(make(), num_cycles=cycles)
        parallel_seed_test(make, num_cycles=max(3, cycles // 4))
    finally:
        make.close()


@pytest.mark.parametrize("name", AEC)
def test_pettingzoos_own_tests_of_aec_envs(name: str) -> None:
    entry_point, cycles = AEC[name]
    make = Opened("aec", entry_point)
    try:
        api_test(make(), num_cycles=cycles)
        seed_test(make, num_cycles=max(2, cycles // 4))
    finally:
        make.close()


@pytest.mark.parametrize("name", [*PARALLEL, "tictactoe", "leduc_holdem"])
def test_trajectories_are_those_of_the_simulators_own_process(name: str) -> None:
    tasks = []
    for api, known in (("parallel", PARALLEL), ("aec", AEC)):
        if name in known:
            entry_point, cycles = known[name]
            tasks.append(task(api, entry_point, cycles))
    for found, inside in zip(tasks, in_process(tasks, "pettingzoo"), strict=True):
        plays.assert_same(played(found, "pettingzoo"), inside)


@pytest.mark.parametrize("api", OLD)
def test_a_simulator_with_an_older_pettingzoo(api: str) -> None:
    found = task(api, OLD[api], 40)
    if api == "aec":  # its parallel reset returns no infos, which the in-process run reads
        plays.assert_same(played(found, "pettingzoo-old"), in_process([found], "pettingzoo-old")[0])
    make = Opened(api, OLD[api], "pettingzoo-old")
    try:
        if api == "aec":
            api_test(make(), num_cycles=20)
            seed_test(make, num_cycles=10)
        else:
            parallel_api_test(make(), num_cycles=20)
            parallel_seed_test(make, num_cycles=10)
    finally:
        make.close()
