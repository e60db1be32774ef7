"""Gymnasium's own check_env gives the same verdict on a remote env as on the local one."""

import inspect
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from support.paths import ENVS
from support.targets import TARGETS

import gym_service

OF_GYMNASIUM = [
    env_id
    for env_id, spec in gym.registry.items()
    if "classic_control" in str(spec.entry_point) or "toy_text" in str(spec.entry_point)
]
WITH_PICTURES = ("CartPole-v1", "FrozenLake-v1")
FAULTY = ("Sound-v0", "Outside-v0", "Random-v0", "Info-v0")
# Since 1.0 it closes a second env of the same spec, and renders in each of its modes; for two of the envs that
# suffices.
SKIPPED = {name: True for name in inspect.signature(check_env).parameters if name.startswith("skip_")}
Make = Callable[..., gym.Env]


@pytest.fixture
def make_remote(tmp_path: Path) -> Iterator[Make]:
    """An env of the test's own interpreter or of a target, from an envs.toml: check_env makes more from its spec."""

    def make(env_id: str, python: str = sys.executable) -> gym.Env:
        module = 'imports = ["checked"]' if env_id in FAULTY else ""
        file = tmp_path / "envs.toml"
        file.write_text(
            f'[envs."{env_id}"]\npython = {json.dumps(python)}\npythonpath = [{json.dumps(str(ENVS))}]\n{module}\n'
        )
        gym_service.use(file)
        return gym.make(f"gym_service/{env_id}")

    yield make
    (tmp_path / "envs.toml").write_text("")
    gym_service.use(tmp_path / "envs.toml")


def verdict(env: gym.Env, *, renders: bool) -> str:
    """The text of check_env's error, without addresses and numbers; "sound" if it raises none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_env(env.unwrapped, **({} if renders else SKIPPED))
        except Exception as error:  # noqa: BLE001 - whatever is raised is the verdict
            return f"{type(error).__name__.removeprefix('Env')}: {str(error).splitlines()[0][:60]}"
        finally:
            env.close()
    return "sound"


@pytest.mark.parametrize("env_id", OF_GYMNASIUM)
def test_an_env_of_gymnasium(env_id: str, make_remote: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    renders = env_id in WITH_PICTURES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CartPole-v0 is out of date
        local, remote = gym.make(env_id), make_remote(env_id)
    expected = verdict(local, renders=renders)
    assert expected == "sound"
    assert verdict(remote, renders=renders) == expected


@pytest.mark.parametrize("env_id", FAULTY)
def test_an_env_that_is_faulty_is_as_faulty_from_afar(
    env_id: str, make_remote: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ENVS))
    local = verdict(gym.make(f"checked:{env_id}"), renders=True)
    assert (local == "sound") == (env_id == "Sound-v0"), local
    assert verdict(make_remote(env_id), renders=True) == local


@pytest.mark.parametrize(
    "target", ["py36-gym021", "py38-gym025", "py38-gym026", "py310-gymnasium029", "py313-gymnasium14"]
)
def test_an_env_of_an_older_api_is_sound_as_well(target: str, make_remote: Make) -> None:
    env = make_remote("CartPole-v1", str(TARGETS[target].python()))
    assert verdict(env, renders=False) == "sound"
