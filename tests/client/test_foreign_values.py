"""Values of a simulator's own classes: no value ends the env, and none arrives as a different value.

Each arrives as its plain type, or as an Opaque in an info, or is refused with CannotCross. Python 3.10.
"""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from fixture_envs.foreign import VALUES
from support.opened import opened
from support.paths import ENVS
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service import Opaque, RemoteEnv
from gym_service.errors import CannotCross

# The values that cross, as they arrive; all others are refused.
CROSSES: dict[str, Any] = {
    "an array that lies": np.arange(4.0),
    "a large array that lies": np.arange(4096.0),
    "bytes that lie": b"abcdef",
}
OLD, NEW = "py38-gym021", "py312-gymnasium14"


@pytest.fixture(scope="module", params=[OLD, "py310-gymnasium029", NEW])
def env(request: pytest.FixtureRequest) -> Iterator[RemoteEnv]:
    with opened("foreign", target=request.param, entry_point="foreign:ForeignEnv") as env:
        env.reset()
        yield env


@pytest.mark.filterwarnings("ignore:.*arrives as an Opaque")
@pytest.mark.parametrize("name", VALUES)
def test_in_an_info_it_crosses_or_is_an_opaque(env: RemoteEnv, name: str) -> None:
    env.unwrapped.call("give", name, "info")
    info = env.step(0)[4]
    assert list(info) == ["first", "it", "last"]
    assert (info["first"], info["last"]) == (1, 2)
    if name in CROSSES:
        assert same(info["it"], CROSSES[name])
    else:
        assert any(isinstance(value, Opaque) for value in all_of(info["it"])), info["it"]
    assert env.step(0)[4] == {}


@pytest.mark.parametrize("name", VALUES)
def test_as_an_observation_it_crosses_or_is_refused_and_the_env_goes_on(env: RemoteEnv, name: str) -> None:
    env.unwrapped.call("give", name, "observation")
    if name in CROSSES:
        assert same(env.step(0)[0], CROSSES[name])
    else:
        with pytest.raises(CannotCross, match=r"^\$\.observation"):
            env.step(0)
    assert env.step(0)[0] == 0


@pytest.mark.filterwarnings("ignore:.*arrives as an Opaque")
@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
@pytest.mark.parametrize("name", VALUES)
def test_in_the_infos_of_a_vector_env(vector: Any, name: str) -> None:
    vector.call("give", name, "info")
    infos = vector.step([0, 0])[4]
    assert infos["first"].tolist() == [1, 1]
    assert vector.step([0, 0])[4] == {}


@pytest.fixture(scope="module")
def vector() -> Iterator[Any]:
    envs = gym_service.make_vec(
        "foreign", 2, python=TARGETS[NEW].python(), pythonpath=[ENVS], entry_point="foreign:ForeignEnv"
    )
    envs.reset()
    yield envs
    envs.close()


def all_of(value: Any) -> Iterator[Any]:
    """The value and everything inside it, including keys."""
    yield value
    if isinstance(value, dict):
        for pair in value.items():
            yield from all_of(pair)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from all_of(item)
