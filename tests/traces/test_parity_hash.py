"""The parity hash of an entry, and its actions."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from support.opened import opened
from support.paths import ENVS
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv
from gym_service.errors import EnvValueError
from gym_service.traces import NoFixedActions, NotSeeded, deterministic_parity_hash, parity_hash
from gym_service.traces.actions import fixed_actions, zero_action

BOX = spaces.Box(np.array([-1, 0, -np.inf, 5, -np.inf], np.float32), np.array([1, 0.5, np.inf, np.inf, 3], np.float32))
SPACES: dict[str, spaces.Space[Any]] = {
    "box": BOX,
    "picture": spaces.Box(0, 255, (2, 3), np.uint8),
    "doubles": spaces.Box(-2.0, 2.0, (2, 2), np.float64),
    "longs": spaces.Box(-(2**62), 2**62, (2,), np.int64),
    "discrete": spaces.Discrete(5),
    "discrete from -2": spaces.Discrete(5, start=-2),
    "discrete from 7": spaces.Discrete(2, start=7),
    "several": spaces.MultiDiscrete([3, 2, 7]),
    "several of two dimensions": spaces.MultiDiscrete(np.array([[3, 2], [4, 5]])),
    "binary": spaces.MultiBinary((2, 3)),
    "nested": spaces.Dict({"b": spaces.Tuple([spaces.Discrete(3), BOX]), "a": spaces.MultiBinary(2)}),
}


@pytest.mark.parametrize("name", SPACES)
def test_fixed_actions_are_of_their_space_and_vary(name: str) -> None:
    space = SPACES[name]
    actions = list(islice(fixed_actions(space, 1), 200))
    assert all(space.contains(action) for action in actions)
    assert len({repr(action) for action in actions}) >= 2
    assert same(list(islice(fixed_actions(space, 1), 200)), actions)
    assert repr(list(islice(fixed_actions(space, 2), 200))) != repr(actions)


@pytest.mark.parametrize("name", SPACES)
def test_a_zero_action_is_of_its_space(name: str) -> None:
    assert SPACES[name].contains(zero_action(SPACES[name]))
    assert same(zero_action(spaces.Box(-1, 1, (2,), np.float32)), np.zeros(2, np.float32))
    assert same(zero_action(spaces.Discrete(5, start=-2)), np.int64(0))


def test_fixed_actions_are_the_same_with_every_version() -> None:
    """Literal values: if another numpy or Gymnasium changed them, every parity hash would change."""
    assert [int(action) for action in islice(fixed_actions(spaces.Discrete(5), 1), 10)] == [
        0,
        2,
        0,
        3,
        4,
        4,
        4,
        4,
        3,
        2,
    ]
    (action,) = islice(fixed_actions(spaces.Box(-1, 1, (3,), np.float32), 1), 1)
    assert action.tobytes().hex() == "7d246cbf27fe76bd3806933e"


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Sequence(spaces.Discrete(2)), spaces.Graph(BOX, None)])
def test_spaces_without_fixed_actions_are_named(space: spaces.Space[Any]) -> None:
    with pytest.raises(NoFixedActions, match=f"a {type(space).__name__} space has no fixed actions"):
        next(fixed_actions(space, 1))
    with pytest.raises(NoFixedActions, match=f"a {type(space).__name__} space has no zero action"):
        zero_action(space)


def made(**given: Any) -> Any:
    with opened("CartPole-v1", **given) as env:
        return parity_hash(env)


def test_the_hash_is_the_simulators_and_not_the_processs() -> None:
    """Two targets with the same simulator agree; a target that computes differently does not."""
    first = made()
    assert first == made(target="py313-gymnasium14")
    assert first.startswith("play1:")
    assert len(first) == len("play1:") + 64
    assert made(kwargs={"sutton_barto_reward": True}) != first
    assert made(max_episode_steps=7) != first


def test_it_is_the_digest_that_a_trace_of_the_play_ends_with(tmp_path: Any) -> None:
    with opened("CartPole-v1") as bare:
        env = gym_service.record_trace(bare, tmp_path / "a.trace")
        found = parity_hash(env)
        assert found == f"play1:{env.trace_digest}"
        env.close()


def test_a_play_that_is_not_deterministic_has_none() -> None:
    keys = {"python": str(TARGETS["py312-gymnasium14"].python()), "pythonpath": [str(ENVS)], "imports": ["unfaithful"]}

    def make(wrong: str) -> RemoteEnv:
        return gym_service.make("Unfaithful-v0", **keys, wrong=wrong)

    assert deterministic_parity_hash(lambda: make("")) == deterministic_parity_hash(lambda: make(""))
    assert deterministic_parity_hash(lambda: make("unseeded")) is None


def test_what_the_simulator_raises_is_part_of_the_play() -> None:
    def raising(what: str) -> str:
        with opened("Misbehaving-v0", "misbehaving", kwargs={"on": "step", "what": what}) as env:
            return parity_hash(env)

    assert raising("ValueError") == raising("ValueError") != raising("KeyError")


def test_an_env_that_cannot_be_seeded_has_none() -> None:
    for entry_point, reason in (
        ("odd_forms:SeedlessEnv", "reset(seed=1): this env cannot be seeded: its reset() takes no seed, and "),
        ("odd_forms:RefusingEnv", "reset(seed=1) raises NotImplementedError, and reset() does not"),
    ):
        with opened("Odd", entry_point=entry_point) as env, pytest.raises(NotSeeded) as refused:
            parity_hash(env)
        assert str(refused.value).startswith(reason)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"env_id": "Misbehaving-v0", "module": "misbehaving", "kwargs": {"on": "reset", "what": "ValueError"}},
        {"env_id": "Broken", "entry_point": "odd_forms:BrokenEnv"},
    ],
)
def test_an_env_whose_first_reset_raises_once_or_always_cannot_be_played(given: dict[str, Any]) -> None:
    with opened(**given) as env, pytest.raises(EnvValueError):
        parity_hash(env)
