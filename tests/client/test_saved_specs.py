"""Specs and pickles: they make their env anywhere, also those saved by earlier versions."""

import copy
import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from support.registered import WriteEnvs, entry, run_python

import gym_service
from gym_service.errors import CallTimeout


def test_a_spec_pickles_goes_to_json_and_makes_itself_anywhere(write_envs: WriteEnvs, tmp_path: Path) -> None:
    write_envs(entry("Pole-v0"))
    with gym.make("gym_service/Pole-v0", service={"timeouts": {"step": 9.0}}) as env:
        spec = env.spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    from_json = EnvSpec.from_json(spec.to_json())
    assert from_json.kwargs == spec.kwargs
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = """
import sys
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
env = gym.make(EnvSpec.from_json(sys.stdin.read()))
print(env.reset(seed=1)[0].shape, env.spec.max_episode_steps)
env.close()
"""
    done = run_python(code, input=spec.to_json(), cwd=elsewhere)
    assert done.stdout == "(4,) 500\n", done.stderr


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copied_env_starts_a_server_of_its_own(write_envs: WriteEnvs, copied: Callable[[gym.Env], gym.Env]) -> None:
    write_envs(entry("Pole-v0"))
    with gym.make("gym_service/Pole-v0") as env, copied(env.unwrapped) as other:
        assert env.unwrapped.target["pid"] != other.unwrapped.target["pid"]
        assert (env.reset(seed=5)[0] == other.reset(seed=5)[0]).all()


def test_specs_and_pickles_name_the_package_alone(write_envs: WriteEnvs) -> None:
    write_envs(entry("Saved-v0"))
    spec = gym.spec("gym_service/Saved-v0")
    assert spec.entry_point == "gym_service:make_registered"
    assert spec.vector_entry_point == "gym_service:make_registered_vector"
    with_make = gym_service.make("CartPole-v1", python=sys.executable)
    with_gym = gym.make("gym_service/Saved-v0")
    try:
        for env in (with_make, with_gym.unwrapped):
            pickled = pickle.dumps(env)
            assert b"gym_service.factory" not in pickled
            assert b"cgym_service\n" in pickle.dumps(env, protocol=0)
        assert with_make.spec.entry_point == "gym_service:make"
    finally:
        with_make.close()
        with_gym.close()


def test_a_spec_that_an_earlier_version_saved_makes_its_env(write_envs: WriteEnvs) -> None:
    file = write_envs(entry("Saved-v0"))
    for entry_point, kwargs in (
        ("gym_service.registration:make_registered", {"entry": "Saved-v0", "config": str(file)}),
        ("gym_service.registration:make", {"env_id": "CartPole-v1", "python": sys.executable}),
    ):
        env = gym.make(EnvSpec("Earlier-v0", entry_point=entry_point, kwargs=kwargs))
        assert env.reset(seed=1)[0].shape == (4,)
        env.close()


def test_an_env_that_an_earlier_version_pickled_is_made_again(write_envs: WriteEnvs) -> None:
    file = write_envs(entry("Saved-v0"))
    earlier = importlib.import_module("gym_service.registration")
    registered = ("Saved-v0", str(file), {}, None, None, {})
    for name, arguments in (
        ("_remake", ("CartPole-v1", {"python": sys.executable})),
        ("_remake_registered", registered),
    ):
        env = getattr(earlier, name)(*arguments)
        assert env.reset(seed=1)[0].shape == (4,)
        env.close()


def test_the_earlier_name_of_a_state_is_kept_with_a_warning() -> None:
    error = CallTimeout("late", during="step", timeout_s=1.0, state="busy")
    with pytest.warns(DeprecationWarning, match="CallTimeout.state"):
        assert error.silence == "busy"
