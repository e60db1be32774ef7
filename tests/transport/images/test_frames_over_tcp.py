"""Frames over TCP with a real server: each choice of ``frames``, and what a user sees."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import plays
from support.opened import opened
from support.serving import Serving, running
from support.targets import TARGETS

import gym_service
from gym_service.errors import ConfigError, ServerStartError
from gym_service.testing import checks

STEPS = 60
EXACT = ("raw", "zlib", "auto")


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a token."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def serving(config_home: Path) -> Iterator[Serving]:
    with running() as server:
        yield server


def made(serving: Serving, frames: str, **given: Any) -> gym_service.RemoteEnv:
    return gym_service.make("CartPole-v1", address=serving.address, frames=frames, **given)


def renders(env: gym_service.RemoteEnv, count: int = 12) -> list["np.ndarray[Any, Any]"]:
    try:
        env.reset(seed=3)
        found = []
        for step in range(count):
            env.step(step % 2)
            found.append(env.render())
        return found
    finally:
        env.close()


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025", "py312-gymnasium14"])
def test_pictures_in_observations_cross_bit_for_bit(target: str, config_home: Path) -> None:
    """The whole run of the parity suite: dicts, infos, images, resets, in the oldest target and the newest."""
    python = TARGETS[target].python()
    plan = plays.jobs_for(target)[
        "cartpole" if "gym021" in target else "frozenlake pictures" if "14" in target else "cartpole"
    ]
    plan["actions"] = plan["actions"][:STEPS]
    theirs = plays.in_process(python, [plan])[0]
    with running(python) as serving:
        for frames in EXACT:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                env = gym_service.make(
                    plan["id"],
                    address=serving.address,
                    kwargs={**plan["kwargs"], **({"render_mode": plan["render_mode"]} if plan["render_mode"] else {})},
                    api=plan["library"],
                    frames=frames,
                )
                try:
                    ours = [record[:4] for record in checks.remote_play(env, plan)]
                finally:
                    env.close()
            assert len(ours) > STEPS
            plays.assert_same(ours, theirs)


def test_each_exact_choice_gives_the_same_pictures_and_zlib_sends_few_bytes(serving: Serving) -> None:
    with opened("CartPole-v1", render_mode="rgb_array") as env:
        expected = renders(env)
    for frames in EXACT:
        env = made(serving, frames, render_mode="rgb_array")
        assert env.target["frames"] == frames
        assert "lossy" not in repr(env.unwrapped)
        assert all(np.array_equal(*both) for both in zip(renders(env), expected, strict=True))


def test_lists_of_frames_are_coded_too(serving: Serving) -> None:
    found = []
    for frames in ("raw", "zlib"):
        env = made(serving, frames, render_mode="rgb_array_list")
        try:
            env.reset(seed=3)
            for step in range(10):
                env.step(step % 2)
            found.append(env.render())
        finally:
            env.close()
    assert len(found[0]) == len(found[1]) == 11
    assert all(np.array_equal(*both) for both in zip(*found, strict=True))


@pytest.mark.slow  # needs Gymnasium 1.0
def test_a_vector_env_with_two_workers_agrees_with_raw(serving: Serving) -> None:
    found = []
    for frames in EXACT:
        envs = gym_service.make_vec(
            "CartPole-v1", 3, workers=2, address=serving.address, render_mode="rgb_array", frames=frames
        )
        try:
            envs.reset(seed=1)
            for _ in range(6):
                envs.step(np.array([0, 1, 0]))
                found.append(envs.render())
            assert {target["frames"] for target in envs.targets} == {frames}
        finally:
            envs.close()
    for ours in (found[6:12], found[12:]):
        for one, other in zip(ours, found[:6], strict=True):
            assert all(np.array_equal(*both) for both in zip(one, other, strict=True))


def test_a_lossy_choice_is_called_lossy_wherever_it_is_shown(serving: Serving) -> None:
    with pytest.warns(UserWarning, match=r'frames = "jpeg:90" is lossy') as warned:
        env = made(serving, "jpeg:90", render_mode="rgb_array")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert env.target["frames"] == "jpeg:90 (lossy)"
    assert "frames jpeg:90 (lossy)" in gym_service.RemoteEnv.__repr__(env.unwrapped)
    pictures = renders(env)
    exact = renders(made(serving, "raw", render_mode="rgb_array"))
    off = [np.abs(ours.astype(int) - theirs).mean() for ours, theirs in zip(pictures, exact, strict=True)]
    assert 0 < max(off) < 3


@pytest.mark.slow  # needs Gymnasium 1.0
def test_a_vector_env_warns_once_of_what_is_lossy(serving: Serving) -> None:
    with pytest.warns(UserWarning, match="is lossy") as warned:
        envs = gym_service.make_vec("CartPole-v1", 2, workers=2, address=serving.address, frames="jpeg:50")
    envs.close()
    assert len([one for one in warned if "is lossy" in str(one.message)]) == 1


def test_where_memory_is_shared_every_choice_is_accepted_and_nothing_is_lost() -> None:
    with opened("CartPole-v1", render_mode="rgb_array") as env:
        expected = renders(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frames in ("zlib", "auto", "jpeg:1"):
            with opened("CartPole-v1", render_mode="rgb_array", frames=frames) as env:
                assert env.target["frames"] == "raw"
                assert all(np.array_equal(*both) for both in zip(renders(env), expected, strict=True))


def test_a_server_without_pillow_is_a_start_that_failed_and_says_what_is_missing(config_home: Path) -> None:
    python = TARGETS["py312-gymnasium14"].python()
    with (
        running(python) as serving,
        pytest.raises(ServerStartError, match=r'"jpeg:90" needs Pillow on both sides') as no,
    ):
        made(serving, "jpeg:90")
    assert "bin/python" in str(no.value)


def test_a_client_without_pillow_is_told_so_before_anything_is_made(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)  # as for a module that is not installed
    with pytest.raises(ConfigError, match="needs Pillow on both sides") as no:
        made(serving, "jpeg:90")
    assert no.value.key == "frames"


def test_the_spelling_is_checked_before_anybody_is_asked() -> None:
    with pytest.raises(ConfigError, match=r'"jpeg" is not known; expected "raw", "zlib", "auto", or "jpeg:1"'):
        gym_service.make("CartPole-v1", address="tcp://127.0.0.1:1", frames="jpeg")


def test_an_error_in_the_middle_leaves_both_sides_agreed(serving: Serving) -> None:
    """A step raises between images that are encoded as differences to earlier ones."""
    env = made(serving, "zlib", render_mode="rgb_array")
    try:
        env.reset(seed=3)
        before = env.render()
        for _ in range(3):
            with pytest.raises(Exception, match="invalid"):
                env.step(7)
            assert np.array_equal(env.render(), before)
        for _ in range(8):
            env.step(0)
        assert not np.array_equal(env.render(), before)
    finally:
        env.close()
