"""Vector envs equal, bit for bit and type for type, a SyncVectorEnv inside the simulators' interpreter."""

from typing import Any

import pytest
from gymnasium.vector import AutoresetMode
from support.same import same
from support.spaces import CANNOT_SAMPLE, SPACES
from support.vector_play import actions_for, in_process, played, remote

MODES = list(AutoresetMode)
ENVS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cartpole": ("CartPole-v1", "", {"max_episode_steps": 9}),
    "frozenlake": ("FrozenLake-v1", "", {}),
    "blackjack": ("Blackjack-v1", "", {"natural": True}),
    "camera": ("Camera-v0", "camera_env", {"size": 32}),
}
STEPS = 40


def assert_parity(env_id: str, module: str, num_envs: int, mode: AutoresetMode, workers: int, **kwargs: Any) -> None:
    given = {"kwargs": kwargs, "module": module, "workers": workers, "autoreset_mode": mode}
    with in_process(env_id, num_envs, module, mode, **kwargs) as theirs:
        actions = actions_for(theirs, 9 if "space" in kwargs else STEPS)
        expected = played(theirs, actions)
        with remote(env_id, num_envs, **given) as ours:
            assert ours.observation_space == theirs.observation_space
            assert ours.action_space == theirs.action_space
            assert ours.metadata == theirs.metadata
            assert same(played(ours, actions), expected)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ENVS)
def test_known_envs(name: str, mode: AutoresetMode, workers: int) -> None:
    env_id, module, kwargs = ENVS[name]
    assert_parity(env_id, module, 5, mode, workers, **kwargs)


@pytest.mark.parametrize("space", [name for name in SPACES if name not in CANNOT_SAMPLE])
def test_every_space(space: str) -> None:
    number = list(SPACES).index(space)
    assert_parity("EverySpace-v0", "every_space", 3, MODES[number % 3], 1 + number // 3 % 2, space=space)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("space", ["nested", "nested without a fixed size", "dict with an image"])
def test_every_mode_with_several_workers(space: str, mode: AutoresetMode) -> None:
    assert_parity("EverySpace-v0", "every_space", 4, mode, 3, space=space)


def test_an_env_gets_its_action_in_the_order_of_the_batched_space() -> None:
    """A batched Dict of Gymnasium's has its keys sorted where the single one has them in another order."""
    with (
        in_process("Camera-v0", 2, "camera_env", MODES[0], size=32) as theirs,
        remote("Camera-v0", 2, module="camera_env", kwargs={"size": 32}) as ours,
    ):
        actions = {key: theirs.action_space.sample()[key] for key in theirs.single_action_space.spaces}
        assert list(actions) != list(theirs.action_space.spaces)
        for envs in (ours, theirs):
            envs.reset(seed=1)
        assert same(ours.step(actions), theirs.step(actions))
