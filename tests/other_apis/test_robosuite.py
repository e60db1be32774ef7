"""Envs in the form of robosuite's and LIBERO's: bounds, horizons, success and cameras."""

from typing import Any

import numpy as np
import pytest
from support.opened import opened as opened_env
from support.same import same

from gym_service import errors


def opened(name: str, **given: Any) -> Any:
    return opened_env("an env", target="dm-env", entry_point=f"robots_of_libero:{name}", **given)


def test_bounds_observations_and_the_horizon() -> None:
    with opened("Lifting") as env:
        assert (env.action_space.dtype, env.action_space.high.tolist()) == (np.float64, [1, 2])
        assert list(env.observation_space) == ["robot0_eef_pos", "agentview_image", "count"]
        assert env.observation_space["agentview_image"].dtype == np.uint8
        assert env._max_episode_steps == 4
        assert env.metadata == {"render_modes": [], "render_fps": 20}
        observation, info = env.reset()
        assert same(info, {})
        assert type(observation["count"]) is int
        results = [env.step(np.zeros(2))[1:] for _ in range(4)]
        assert same(list(results[0]), [0.5, False, False, {"success": np.bool_(False)}])
        assert same(list(results[3]), [0.5, False, True, {"success": np.bool_(True)}])
        with pytest.raises(errors.EnvValueError, match="executing action in terminated episode"):
            env.step(np.zeros(2))
        with pytest.raises(errors.ApiMismatch, match=r"Lifting cannot be seeded.*\n  try: kwargs = \{ seed = 3 \}"):
            env.reset(seed=3)


def test_the_observation_before_the_first_reset_draws_nothing() -> None:
    with opened("Lifting", wrappers=["robots_of_libero:seeded"]) as env:
        observation, _ = env.reset()
        assert np.array_equal(observation["robot0_eef_pos"], np.random.RandomState(1).random_sample(2))


@pytest.mark.parametrize(("succeeds_at", "ends"), [(2, [(False, False), (True, False)]), (9, [(False, False)] * 3)])
def test_libero_ends_with_success_and_at_the_horizon(succeeds_at: int, ends: list[Any]) -> None:
    with opened("ControlEnv", kwargs={"succeeds_at": succeeds_at}) as env:
        env.reset(seed=3)
        assert [env.step(np.zeros(2))[2:4] for _ in ends] == ends
        if succeeds_at == 9:
            assert env.step(np.zeros(2))[2:4] == (False, True)
        assert same(env.set_init_state(np.arange(3)), {"state": np.arange(3)})


def test_seeds_of_libero() -> None:
    with opened("ControlEnv") as env:
        first, again = env.reset(seed=3)[0], env.reset(seed=3)[0]
        assert np.array_equal(first["robot0_eef_pos"], again["robot0_eef_pos"])
        assert np.array_equal(first["robot0_eef_pos"], np.random.RandomState(3).random_sample(2))


def test_frames_of_a_named_camera_are_the_right_way_up() -> None:
    keys = {"width": 8, "height": 6, "camera_name": "agentview"}
    kwargs = {"has_offscreen_renderer": True}
    with opened("Lifting", kwargs={**kwargs, "render_mode": "rgb_array", "render_kwargs": keys}) as env:
        env.reset()
        frame = env.render()
        assert frame.shape == (6, 8, 3)
        assert frame[-1, 0, 0] == len("agentview")
    with opened("Lifting", kwargs=kwargs, render_mode="rgb_array") as env:
        assert env.render()[-1, 0, 0] == len("front")
    with pytest.raises(errors.ApiMismatch, match="renders nothing"), opened("Lifting", render_mode="rgb_array"):
        pass
