"""Infos of any form arrive as they were, whether or not a form packs them, and in any order."""

import random

import pytest
from fixture_envs.infos import INFOS
from support.opened import TARGET, opened
from support.same import same

from gym_service import errors


def infos(target: str = TARGET, **given: object):
    return opened("infos", target=target, entry_point="infos:InfosEnv", **given)


def assert_steps(env, names: list[str], first: int = 1) -> None:
    for number, name in enumerate(names, start=first):
        _, reward, *_, info = env.step(name)
        assert reward == number
        assert same(info, INFOS[name](number)), name


@pytest.mark.parametrize("name", INFOS)
def test_the_same_info_in_each_step(name: str) -> None:
    with infos() as env:
        env.reset()
        assert_steps(env, [name] * (20 if name == "wide" else 100))


@pytest.mark.parametrize("target", [TARGET, "py36-gym021"])
def test_infos_in_any_order(target: str) -> None:
    chance = random.Random(7)
    usual = [name for name in INFOS if name != "wide"]
    with infos(target) as env:
        env.reset()
        assert_steps(env, [chance.choice(usual) for _ in range(500)])


def test_an_info_that_a_message_just_holds_is_not_refused_for_its_form() -> None:
    with infos(max_message_mib=1) as env:
        env.reset()
        assert_steps(env, ["wide", "numbers", "wide"])


@pytest.mark.parametrize("name", ["numbers", "large arrays"])
def test_an_exception_while_the_form_is_told(name: str) -> None:
    """The client never learns of that form, so no later result is packed by it."""
    with infos() as env:
        env.reset()
        env.unwrapped.raise_next()
        with pytest.raises(errors.EnvError, match="a timer of the simulator"):
            env.step(name)
        assert_steps(env, [name] * 3, first=2)
        env.unwrapped.raise_next()
        with pytest.raises(errors.EnvError, match="a timer of the simulator"):
            env.step("other keys")
        assert_steps(env, [name, "other keys", name, name], first=6)
