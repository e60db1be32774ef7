"""An env as LeRobot receives it: it has everything that LeRobot needs, and does not change the simulator's values."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import NameNotFound
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from lerobot_env_gym_service.making import LeRobotEnv, make_one
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

from gym_service import errors

MODEST_API = ["py36-gym021", "py38-gym025", TARGET]
NEW_ROLLOUT = {"lerobot_new_rollout": True}


def recipe(name: str, target: str = TARGET, **service: Any) -> dict[str, Any]:
    where = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)], "entry_point": f"robot:{name}"}
    limit = {"max_episode_steps": 5} if name == "RobotEnv" else {}
    return {"task": "a robot", "service": {**limit, **where, **service}}


@contextmanager
def robot(name: str = "RobotEnv", target: str = TARGET, **given: Any) -> Iterator[LeRobotEnv]:
    env = make_one(**{**recipe(name, target), **given})
    try:
        yield env
    finally:
        env.close()


def test_all_that_lerobot_asks_for_is_there() -> None:
    with robot() as env:
        assert env.get_wrapper_attr("_max_episode_steps") == 5
        assert (env.task, env.task_description) == ("lift the cube", "lift the cube")
        assert (env.metadata["render_fps"], type(env.metadata["render_fps"])) == (25, int)
        assert env.metadata["render_modes"] == ["rgb_array"]
        assert env.render_mode == "rgb_array"
        assert env.render().shape == (16, 24, 3)


def test_what_the_simulator_gives_arrives_as_it_is() -> None:
    with robot() as env:
        observation, info = env.reset(seed=3, options={**NEW_ROLLOUT, "goal": 1})
        assert env.get_wrapper_attr("received_options") == {**NEW_ROLLOUT, "goal": 1}
        assert info == {}
        assert list(observation) == ["pixels", "agent_pos", "environment_state"]
        assert np.array_equal(observation["agent_pos"], np.random.RandomState(3).random_sample(3))
        assert env.observation_space.contains(observation)
        assert env.step(np.ones(2, np.float32))[1:] == (2.0, False, False, {"is_success": False})
        assert env.step(np.ones(2, np.float32))[1:] == (4.0, True, False, {"is_success": True})


@pytest.mark.parametrize("target", MODEST_API)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Future gym versions", "ignore::UserWarning")
def test_lerobots_own_option_stays_here_where_reset_takes_none(target: str) -> None:
    with robot("ModestEnv", target, success_key="solved") as env:
        observation, info = env.reset(seed=3, options=NEW_ROLLOUT)
        assert (list(observation), info) == (["agent_pos"], {})
        with pytest.raises((errors.EnvTypeError, errors.EnvValueError), match="options"):
            env.reset(options={**NEW_ROLLOUT, "goal": 1})
        env.reset()
        assert env.step(np.zeros(2, np.float32))[4] == {"solved": 1.0, "is_success": True}


def test_what_the_simulator_does_not_say_is_made_up_for() -> None:
    with robot("ModestEnv") as env:
        assert (env.task, env.task_description) == ("", "")  # its own task is not a text
        assert env.metadata["render_fps"] == 30
        env.reset()
        assert env.step(np.zeros(2, np.float32))[4] == {"solved": 1.0, "is_success": False}
    with robot("ModestEnv", task_description="push", fps=12, rename={"": "environment_state"}) as env:
        assert (env.task, env.task_description) == ("push", "push")
        assert env.metadata["render_fps"] == 12
        assert list(env.reset()[0]) == ["environment_state"]


def test_a_success_that_cannot_cross_is_refused_and_not_counted() -> None:
    given = {"entry_point": "odd_forms:FailingEnv", "max_episode_steps": 5}
    with robot("Failing", service=recipe("Failing", **given)["service"]) as env:
        env.reset()
        with (
            pytest.warns(UserWarning, match="arrives as an Opaque"),
            pytest.raises(errors.CannotCross, match=r"info\['is_success'\] is a odd_forms\.Failure"),
        ):
            env.step(0)


def test_an_env_without_a_time_limit_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match=r"no time limit(?s:.*)--env\.episode_length"):
        make_one(**recipe("RobotEnv", max_episode_steps=-1))


def test_a_name_that_the_simulator_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no observation 'image'"):
        make_one(**recipe("RobotEnv"), rename={"image": "pixels"})


def test_an_entry_of_a_file_is_found_and_an_unknown_one_is_told(tmp_path: Path) -> None:
    service = recipe("RobotEnv")["service"]
    file = tmp_path / "envs.toml"
    keys = (f"{key} = {value!r}" for key, value in service.items())
    file.write_text('[envs."Robot-v0"]\n' + "\n".join(keys))
    env = make_one(task="Robot-v0", envs_file=str(file), service={"max_episode_steps": 9})
    try:
        assert env.get_wrapper_attr("_max_episode_steps") == 9
    finally:
        env.close()
    with pytest.raises(NameNotFound, match=r"envs\.toml has no env 'Robot-v1'; it has: Robot-v0(?s:.*)envs_file"):
        make_one(task="Robot-v1", envs_file=str(file))


def test_workers_that_were_spawned_play_as_this_process_does() -> None:
    maker = pickle.loads(pickle.dumps(partial(make_one, **recipe("RobotEnv"))))
    played = []
    for vector_env in (SyncVectorEnv([maker] * 2), AsyncVectorEnv([maker] * 2, context="spawn", shared_memory=False)):
        results = [vector_env.reset(seed=[1, 2], options=NEW_ROLLOUT)]
        results += [vector_env.step(np.full((2, 2), 0.5, np.float32)) for _ in range(3)]
        results += [vector_env.call(name) for name in ("task_description", "task", "_max_episode_steps", "render")]
        vector_env.close()
        played.append(results)
    np.testing.assert_equal(*played)
    assert played[0][3][1].tolist() == [3.0, 3.0]
