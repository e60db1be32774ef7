"""Objects that are not an env of the requested kind: the error is one sentence with advice."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium as gym
import pytest
from support.agents import opened as several
from support.opened import TARGET, opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service import errors


def message(error: type[Exception], entry_point: str, **given: Any) -> str:
    """The error when an entry point of no_known_api is made."""
    with pytest.raises(error) as caught, opened("an env", entry_point=f"no_known_api:{entry_point}", **given):
        pass
    text = str(caught.value)
    assert "raised in the simulator" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(("entry_point", "name"), [("nothing", "NoneType"), ("Functional", "no_known_api.Functional")])
def test_an_object_of_no_known_api(entry_point: str, name: str) -> None:
    text = message(errors.EnvError, entry_point)
    assert text.startswith(f"{name} is no env that an adapter exists for")
    for piece in ("gymnasium", "gym", "dm_env", "robosuite", "LIBERO", "PettingZoo", "make_parallel", "make_aec"):
        assert piece in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("open_spiel.python.rl_environment", "OpenSpiel"),
        ("pyspiel", "OpenSpiel"),
        ("rlcard.envs.env", "RLCard"),
        ("jumanji.env", "Jumanji"),
        ("brax.envs.base", "Brax"),
        ("gymnax.environments.environment", "gymnax"),
        ("textworld.core", "TextWorld"),
    ],
)
def test_libraries_that_are_not_supported_are_named(module: str, library: str) -> None:
    text = message(errors.EnvError, "of_library", kwargs={"name": module})
    assert text.startswith(f"{module}.Environment is of {library}, whose API is not supported\n  try: ")


def test_specs_that_are_no_dm_envs() -> None:
    assert "is of OpenSpiel, whose API is not supported" in message(errors.EnvError, "OpenSpielLike")


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_a_vector_env_in_gym_make_names_make_vec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Vectorized is a vector env without an observation_space" in message(errors.EnvError, "Vectorized")
    file = tmp_path / "envs.toml"
    python = json.dumps(str(TARGETS[TARGET].python()))
    entry = 'entry_point = "gymnasium:make_vec"\nkwargs = { id = "CartPole-v1", num_envs = 2 }'
    file.write_text(f'[envs."Poles-v0"]\npython = {python}\n{entry}\n')
    try:
        gym_service.use(file)
        with pytest.raises(errors.ConfigError, match=r"makes a vector env.*\n  try: vectorized = true .*make_vec"):
            gym.make("gym_service/Poles-v0")
    finally:
        monkeypatch.chdir(tmp_path.parent)
        gym_service.use()


@pytest.mark.parametrize(("entry_point", "found"), [("Team", "parallel"), ("Game", "aec")])
def test_an_env_of_several_agents_in_make_names_both(entry_point: str, found: str) -> None:
    with (
        pytest.raises(errors.EnvError) as caught,
        opened("an env", entry_point=f"several_agents:{entry_point}"),
    ):
        pass
    text = str(caught.value)
    assert f"try: gym_service.make_{found}" in text
    assert "make_parallel" in text
    assert "make_aec" in text
    other = "aec" if found == "parallel" else "parallel"
    with (
        pytest.raises(errors.EnvError, match=f"make_{other} cannot hold\n  try: gym_service.make_{found}"),
        several(other, f"several_agents:{entry_point}"),
    ):
        pass


def test_the_key_api_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = json.dumps(str(TARGETS[TARGET].python()))
    (tmp_path / "envs.toml").write_text(
        f'[envs."Team-v0"]\npython = {python}\napi = "parallel"\nentry_point = "several_agents:Team"\n'
        f"pythonpath = [{json.dumps(str(Path(__file__).parent.parent / 'fixture_envs'))}]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GYM_SERVICE_ENVS", raising=False)
    try:
        gym_service.use()
        for make in (gym_service.make, gym_service.make_vec, gym.make):
            env_id = "gym_service/Team-v0" if make is gym.make else "Team-v0"
            with pytest.raises(
                errors.ConfigError, match=r'api = "parallel".*\n  try: gym_service.make_parallel'
            ) as caught:
                make(env_id)
            assert caught.value.key == "api"
        with pytest.raises(errors.ConfigError, match=r"make_aec cannot make\n  try: gym_service\.make_parallel"):
            gym_service.make_aec("Team-v0")
        with pytest.raises(errors.ConfigError, match="max_cycles = 7"):
            gym_service.make_parallel("Team-v0", max_episode_steps=7)
        env = gym_service.make_parallel("Team-v0", kwargs={"lives": 2})
        try:
            assert env.lives == 2
        finally:
            env.close()
    finally:
        monkeypatch.chdir(tmp_path.parent)
        gym_service.use()


def test_an_api_that_the_object_does_not_have() -> None:
    with (
        pytest.raises(
            errors.EnvError, match=r"^api = 'dm_env': .*CartPoleEnv is an env of gymnasium or gym\n  try: leave it out$"
        ),
        opened("an env", entry_point="gymnasium.envs.classic_control:CartPoleEnv", api="dm_env"),
    ):
        pass
    with pytest.raises(errors.EnvError, match="needs an entry_point"), opened("CartPole-v1", api="robosuite"):
        pass


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_one_emulator_per_process_says_workers() -> None:
    where: Any = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)]}
    where["entry_point"] = "no_known_api:one_emulator"
    with pytest.raises(errors.EnvRuntimeError, match=r"(?s)multiple emulator instances.*\n  try: workers = 2"):
        gym_service.make_vec("retro", 2, **where)
    envs = gym_service.make_vec("retro", 2, **where, workers=2)
    envs.close()


def test_a_missing_pkg_resources_says_setuptools() -> None:
    with (
        pytest.raises(errors.ImportFailed, match=r"\n  try: .*'setuptools<81'"),
        opened("an env", entry_point="no_known_api:needs_setuptools"),
    ):
        pass
