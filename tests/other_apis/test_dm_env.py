"""An env of dm_env as a gymnasium.Env: specs become spaces, time steps become results. The target has no gym."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from support.opened import opened as opened_env
from support.paths import ENVS
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service import errors


def opened(name: str = "Counting", **given: Any) -> Any:
    return opened_env("an env", target="dm-env", entry_point=f"time_steps:{name}", **given)


def test_specs_are_spaces_in_their_order() -> None:
    with opened() as env:
        space = env.observation_space
        assert list(space) == ["z", "a", "whole", "flag", "inner"]
        assert space["z"] == spaces.Box(np.array([-1, -np.inf], np.float32), np.float32(2), (2,), np.float32)
        assert space["a"] == spaces.Box(-np.inf, np.inf, (), np.float64)
        assert (space["whole"].dtype, int(space["whole"].low[0]), int(space["whole"].high[0])) == (
            np.int16,
            -32768,
            32767,
        )
        assert space["flag"].dtype == np.bool_
        assert type(space["inner"]["pair"]) is spaces.Tuple
        assert space["inner"]["pair"][1].n == 5
        assert space["inner"]["word"].contains("text")
        assert (env.action_space.n, env.action_space.dtype) == (4, np.int32)
        assert env.metadata == {"render_modes": []}
        assert env.target["api"] == "dm_env 1.6"
        assert env._max_episode_steps is None


def test_time_steps_are_results() -> None:
    with opened() as env:
        observation, info = env.reset(seed=4)
        assert type(observation) is dict
        assert list(observation) == ["z", "a", "whole", "flag", "inner"]
        assert np.array_equal(observation["z"], np.random.RandomState(4).uniform(-1, 1, 2).astype(np.float32))
        assert (type(observation["a"]), observation["a"].shape) == (np.ndarray, ())
        assert observation["inner"]["word"] == "w0"
        assert type(observation["inner"]["pair"]) is tuple
        assert info["timestep.discount"] is None
        assert int(info["timestep.step_type"]) == 0
        _, reward, terminated, truncated, info = env.step(2)
        assert same([reward, terminated, truncated, info["timestep.discount"]], [0.0, False, False, 0.5])
        assert env.action == 2
        env.step(1)
        _, reward, terminated, truncated, info = env.step(1)
        assert same([reward, terminated, truncated, info["timestep.discount"]], [np.float32(1), True, False, 0.0])
        _, reward, terminated, truncated, info = env.step(1)  # starts the next episode, as in dm_env
        assert same([reward, terminated, truncated, info["timestep.discount"]], [0, False, False, None])


@pytest.mark.parametrize("discount", [1.0, 0.5, np.float32(0.25), np.array([1.0])])
def test_another_discount_than_zero_is_truncation(discount: Any) -> None:
    with opened(kwargs={"ends_after": 1, "discount": discount}) as env:
        env.reset()
        assert env.step(0)[2:4] == (False, True)


@pytest.mark.parametrize("discount", [None, np.array([0.0, 1.0]), "0"])
def test_a_discount_that_is_not_one_number_is_refused(discount: Any) -> None:
    with opened(kwargs={"ends_after": 1, "discount": discount}) as env:
        env.reset()
        with pytest.raises(errors.ApiMismatch, match="which is not one number"):
            env.step(0)


def test_seeds() -> None:
    with opened(wrappers=["time_steps:Wrapper"]) as env:
        first, again = env.reset(seed=3)[0], env.reset(seed=3)[0]
        assert np.array_equal(first["z"], again["z"])
        assert not np.array_equal(first["z"], env.reset()[0]["z"])
    with opened("Seeded") as env:
        env.reset(seed=3)
        assert env.given == 3
    with opened("Unseeded") as env:
        with pytest.raises(
            errors.ApiMismatch, match=r"Unseeded cannot be seeded.*\n  try: kwargs = \{ random_state = 7 \}"
        ):
            env.reset(seed=7)
        env.reset()
        with pytest.raises(errors.ApiMismatch, match="takes no options"):
            env.reset(options={"a": 1})


def test_limits_and_render_modes() -> None:
    with opened(kwargs={"ends_after": 9}, max_episode_steps=2) as env:
        for _ in range(2):
            env.reset()
            assert [env.step(0)[2:4] for _ in range(2)] == [(False, False), (False, True)]
        assert env._max_episode_steps == 2
    for given, text in (({"max_episode_steps": -1}, "time_limit"), ({"render_mode": "rgb_array"}, "renders nothing")):
        with pytest.raises(errors.ApiMismatch, match=text), opened(**given):
            pass


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_a_vector_env() -> None:
    python = str(TARGETS["dm-env"].python())
    where = {"python": python, "pythonpath": [str(ENVS)], "entry_point": "time_steps:Counting"}
    envs = gym_service.make_vec("an env", 3, **where, workers=2, kwargs={"ends_after": 2})  # type: ignore[arg-type]
    try:
        observations, _ = envs.reset(seed=5)
        assert observations["z"].shape == (3, 2)
        ends = [envs.step(np.zeros(3, np.int32))[2].tolist() for _ in range(4)]
        assert ends == [[False] * 3, [True] * 3, [False] * 3, [False] * 3]
    finally:
        envs.close()
