"""Arguments of reset, step and render beyond Gymnasium's: they reach the simulator unchanged. Python 3.10."""

from collections.abc import Iterator

import pytest
from support.opened import opened

from gym_service import RemoteEnv
from gym_service.errors import CannotCross, EnvTypeError

NEW = ["py38-gym026", "py310-gymnasium029", "py312-gymnasium14"]
KEYS = {"entry_point": "further:FurtherEnv"}


@pytest.fixture(scope="module", params=NEW)
def env(request: pytest.FixtureRequest) -> Iterator[RemoteEnv]:
    with opened("further", target=request.param, kwargs={"render_mode": "rgb_array"}, **KEYS) as env:
        yield env


@pytest.fixture(scope="module")
def old() -> Iterator[RemoteEnv]:
    with opened("further", target="py38-gym021", kwargs={"render_mode": "rgb_array"}, **KEYS) as env:
        yield env


def test_reset_passes_them_on(env: RemoteEnv) -> None:
    assert env.reset() == (0, {"seed": None, "options": None, "named": {}})
    assert env.reset(task_id=3, seed=5) == (3, {"seed": 5, "options": None, "named": {}})
    assert env.reset(7, level="hard", options={"a": 1}) == (
        7,
        {"seed": None, "options": {"a": 1}, "named": {"level": "hard"}},
    )


def test_step_passes_them_on(env: RemoteEnv) -> None:
    assert env.step(2) == (2, 1.0, False, False, {"more": [], "named": {}})
    assert env.step(2, frame_skip=4) == (8, 1.0, False, False, {"more": [], "named": {}})
    assert env.step(2, 3, "more", speed=1.5) == (6, 1.0, False, False, {"more": ["more"], "named": {"speed": 1.5}})
    env.step_async(1, frame_skip=9)
    assert env.step_wait()[0] == 9


def test_render_passes_them_on(env: RemoteEnv) -> None:
    assert env.render() == ["back", 4, "rgb_array"]
    assert env.render("front", width=8) == ["front", 8, "rgb_array"]


def test_of_an_old_env_too(old: RemoteEnv) -> None:
    assert old.reset(task_id=3, level="hard", seed=1) == ({"task_id": 3, "named": {"level": "hard"}}, {})
    assert old.step(2, frame_skip=4)[0] == 8
    assert old.render() == ["rgb_array", 4]
    assert old.render(width=8) == ["rgb_array", 8]
    assert old.render("ansi", 3) == ["ansi", 3]
    assert old.render(mode="human") == ["human", 4]


def test_what_the_simulator_does_not_take_is_its_own_error(env: RemoteEnv) -> None:
    with pytest.raises(EnvTypeError, match="unexpected keyword argument 'height'"):
        env.render(height=3)
    with pytest.raises(CannotCross, match=r"\$\.kwargs\['task'\]"):
        env.reset(task=object())
    assert env.step(1)[0] == 1
