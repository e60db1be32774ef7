"""The simulator's ``sys.argv``: the entry's words and never the server's own, over every transport. Python 3.10."""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from support.opened import opened
from support.serving import running
from support.targets import TARGETS

import gym_service
from gym_service.errors import ConfigError, EnvError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

WAYS: dict[str, dict[str, Any]] = {
    "unix": {},
    "stdio": {"transport": "stdio"},
    "prefork": {"prefork": True},
    "command": {"command": ["env"]},
}
GIVEN = ["train.py", "--task", "reach"]


def seen(target: str = "py312-gymnasium14", **given: Any) -> list[Any]:
    with opened("parsing", target=target, entry_point="parsing:ParsingEnv", **given) as env:
        env.reset()
        return env.unwrapped.call("seen")


@pytest.mark.parametrize("target", ["py38-gym021", "py310-gymnasium029", "py312-gymnasium14"])
def test_a_simulator_that_parses_its_command_line_finds_none(target: str) -> None:
    assert seen(target) == [[""], [""], "none"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("argv", [None, GIVEN], ids=["default", "given"])
def test_over_each_way_it_is_what_the_entry_says(way: str, argv: list[str] | None) -> None:
    assert seen(**WAYS[way], argv=argv) == ([[""], [""], "none"] if argv is None else [GIVEN, GIVEN, "reach"])


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_each_worker_of_a_vector_env_has_it() -> None:
    python = TARGETS["py312-gymnasium14"].python()
    folder = Path(__file__).parent.parent / "fixture_envs"
    envs = gym_service.make_vec(
        "parsing", 3, workers=2, python=python, pythonpath=[folder], entry_point="parsing:ParsingEnv", argv=GIVEN
    )
    assert envs.call("seen") == ([GIVEN, GIVEN, "reach"],) * 3
    envs.close()


def test_what_is_no_command_line_is_refused() -> None:
    for argv, problem in ((["a", 3], r"argv\[1\]: 3 is an integer; expected a string"), ("--task", "expected a list")):
        with pytest.raises(ConfigError, match=problem):
            gym_service.make("CartPole-v1", python=sys.executable, argv=argv)  # type: ignore[arg-type]


def test_a_server_of_somebody_else_takes_none_unless_it_allows_imports() -> None:
    with running(sys.executable) as serving, pytest.raises(EnvError, match=r"argv = .*not the client's own"):
        gym_service.make("CartPole-v1", address=serving.address, argv=GIVEN)
    with running(sys.executable, "--allow-import") as serving:
        gym_service.make("CartPole-v1", address=serving.address, argv=GIVEN).close()
