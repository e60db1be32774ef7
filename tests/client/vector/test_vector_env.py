"""A vector env apart from its numbers: Gymnasium's registry, attributes, arrays, old targets."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from support.targets import TARGETS
from support.vector_play import remote

import gym_service
from gym_service import RemoteVectorEnv
from gym_service.client.vector import shares_of
from gym_service.errors import ConfigError


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[None]:
    """``gym_service/Pole-v0``, with two workers."""
    for name, content in (
        ("envs", f'[envs."Pole-v0"]\npython = {json.dumps(sys.executable)}\nid = "CartPole-v1"\nworkers = 2\n'),
        ("empty", ""),
    ):
        (tmp_path / f"{name}.toml").write_text(content)
    gym_service.use(tmp_path / "envs.toml")
    yield
    gym_service.use(tmp_path / "empty.toml")


@pytest.mark.usefixtures("registered")
def test_gymnasium_makes_it_and_its_spec_goes_to_json() -> None:
    envs = gym.make_vec("gym_service/Pole-v0", num_envs=3, render_mode="rgb_array", max_episode_steps=4)
    try:
        assert isinstance(envs, RemoteVectorEnv)
        assert (envs.num_envs, len(envs.targets), envs.render_mode) == (3, 2, "rgb_array")
        assert envs.get_attr("_max_episode_steps") == (4, 4, 4)
        assert envs.spec is not None
        assert gym.envs.registration.EnvSpec.from_json(envs.spec.to_json()) == envs.spec
        envs.reset(seed=0)
        assert [frame.shape for frame in envs.render()] == [(400, 600, 3)] * 3
    finally:
        envs.close()


@pytest.mark.usefixtures("registered")
def test_keywords_win_over_the_entry() -> None:
    envs = gym.make_vec("gym_service/Pole-v0", num_envs=3, workers=1, autoreset_mode="SameStep")
    assert len(envs.unwrapped.targets) == 1
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.close()
    with gym.make("gym_service/Pole-v0") as env:  # a single env, which ignores ``workers``
        env.reset()


@pytest.mark.usefixtures("registered")
def test_wrappers_of_gymnasium_hold_it() -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("gym_service/Pole-v0", num_envs=2))
    envs.reset(seed=0)
    infos = [envs.step(np.array([0, 0]))[4] for _ in range(20)]
    assert any("episode" in info for info in infos)
    envs.close()


@pytest.mark.parametrize("wrong", [0, True, "2", 1.5])
def test_workers_are_a_number(wrong: object) -> None:
    with pytest.raises(ConfigError, match="workers"):
        gym_service.make_vec("CartPole-v1", 2, workers=wrong, python=sys.executable)  # type: ignore[arg-type]


def test_attributes_of_each_env() -> None:
    with remote("CartPole-v1", 3, workers=2) as envs:
        envs.set_attr("gravity", [1.0, 2.0, 3.0])
        assert envs.get_attr("gravity") == (1.0, 2.0, 3.0)
        envs.set_attr("gravity", 5.0)
        assert envs.call("gravity") == (5.0,) * 3
        with pytest.raises(ValueError, match="2 values for 3"):
            envs.set_attr("gravity", [1.0, 2.0])
        envs.reset(seed=[4, 5, 6])
        assert envs.np_random_seed == (4, 5, 6)
        with pytest.raises(AttributeError, match="absent"):
            envs.get_attr("absent")


@pytest.mark.parametrize("space", ["box of float32", "huge image", "discrete", "unsorted dict"])
def test_arrays_that_the_user_holds_are_never_overwritten(space: str) -> None:
    with remote("EverySpace-v0", 2, "every_space", kwargs={"space": space}) as envs:
        held = [envs.reset(seed=0)[0]]
        before = [repr(held[0])]
        for _ in range(6):
            held.append(envs.step(envs.action_space.sample())[0])
            before.append(repr(held[-1]))
        assert [repr(one) for one in held] == before
        leaves = [one if isinstance(one, np.ndarray) else one["z"] for one in held]
        assert all(leaf.flags.writeable for leaf in leaves)
        pairs = [(one, other) for at, one in enumerate(leaves) for other in leaves[:at]]
        assert not any(np.shares_memory(one, other) for one, other in pairs)


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym025"])
def test_old_targets_have_every_mode(target: str) -> None:
    python = str(TARGETS[target].python())
    for mode in AutoresetMode:
        given = {"python": python, "autoreset_mode": mode, "workers": 2, "entry_point": "older:OlderEnv"}
        with remote("an env of old", 3, kwargs={"by_the_clock": True}, **given) as envs:
            observations, infos = envs.reset(seed=3)
            expected = np.stack([np.random.RandomState(seed).random_sample(2) for seed in (3, 4, 5)])
            assert np.array_equal(observations, expected)
            assert infos == {}
            steps = [envs.step(np.zeros(3, np.int64)) for _ in range(3)]
            assert steps[-1][3].tolist() == [True] * 3
            is_final = mode is AutoresetMode.SAME_STEP
            assert ("final_obs" in steps[-1][4]) == is_final
            assert ("TimeLimit.truncated" in steps[-1][4]) == (not is_final)


def test_shares_are_contiguous_and_none_is_empty() -> None:
    for num_envs in range(1, 12):
        for workers in range(1, 14):
            shares = shares_of(num_envs, workers)
            assert [index for share in shares for index in range(num_envs)[share]] == list(range(num_envs))
            sizes = [share.stop - share.start for share in shares]
            assert len(sizes) == min(workers, num_envs)
            assert max(sizes) - min(sizes) <= 1
    with pytest.raises(ValueError, match="at least one"):
        shares_of(0, 1)
