"""Steps with large observations give what the same env gives in this process, and are compiled where they are usual."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from support.called import functions_of
from support.opened import opened
from support.paths import ENVS
from support.same import same

from gym_service import RemoteEnv

spec = spec_from_file_location("large_results", ENVS / "large_results.py")
assert spec
assert spec.loader
large_results: Any = module_from_spec(spec)
spec.loader.exec_module(large_results)

STEPS = 60
# Kinds whose results are all usual, that is, which every step after the first ones makes by one function on each side.
USUAL = ("usual", "large_info", "orders", "reused", "cameras")


@contextmanager
def made(kind: str, **given: Any) -> Iterator[RemoteEnv]:
    with opened("results", entry_point="large_results:ResultsEnv", kwargs={"kind": kind}, **given) as env:
        yield env


def outcome(act: Callable[[], Any]) -> Any:
    """What it returns, or the text of its error."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - any error of a simulator or of the bridge
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("keeps", ["none", "all", "some"])
@pytest.mark.parametrize("kind", large_results.KINDS)
def test_results_are_those_of_this_process(kind: str, keeps: str) -> None:
    here, kept, chance = large_results.ResultsEnv(kind), [], random.Random(kind)
    with made(kind) as env:
        assert same(env.reset()[0], here.reset()[0])
        for number in range(STEPS):
            found, expected = outcome(partial(env.step, number % 2)), copy.deepcopy(here.step(number % 2))
            if isinstance(found, str):
                assert not (isinstance(expected, tuple) and len(expected) in (4, 5)), found
                continue
            if isinstance(expected, tuple) and len(expected) == 4:  # as gym 0.21 returns them
                expected = (*expected[:3], False, expected[3])
            assert same(found, expected), number
            if keeps == "all" or (keeps == "some" and chance.random() < 0.3):
                kept.append((found, expected))
            if keeps == "some" and kept and chance.random() < 0.2:
                kept.pop(chance.randrange(len(kept)))
        del found
        assert all(same(found, expected) for found, expected in kept)
        kept.clear()
        for _ in range(4):
            outcome(partial(env.step, 0))
        arena = env._connection.arena
        assert arena is not None
        assert sum(slot.is_out for slot in arena._theirs.values()) <= 2 * 6  # all but those of the last steps


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize("kind", USUAL)
def test_usual_steps_are_compiled(kind: str, transport: str) -> None:
    with made(kind, transport=transport) as env:
        env.reset()
        for _ in range(35):  # also until each form of its results is known
            env.step(0)
        found = functions_of(lambda: [env.step(0)[1] for _ in range(30)])
        assert found >= {"exchange", "leased_frame", "returns"}
        assert not found & {"open_call", "send_call", "read_answer", "await_frame", "compose"}
        there = env.get_wrapper_attr("called")
        assert there >= {"answer", "act", "pack", "lend", "begin"}
        assert not there & {"send_answer", "send_frame", "encode_step", "compose"}


def test_an_env_without_slots_is_as_good() -> None:
    here = large_results.ResultsEnv("usual")
    with made("usual", arena_mib=1) as env:
        assert same(env.reset()[0], here.reset()[0])
        kept = []
        for number in range(80):
            kept.append((env.step(number % 2), copy.deepcopy(here.step(number % 2))))
        assert all(same(found, expected) for found, expected in kept)


def test_a_slot_that_is_refused_is_never_named() -> None:
    """The refusal goes with the very next call, although that is compiled."""
    here = large_results.ResultsEnv("map_later")
    with made("map_later") as env:
        env.reset()
        assert env._connection.arena is not None
        env._connection.arena.limit_bytes = 0  # as in a process that has no memory left for it
        for number in range(STEPS):
            assert same(env.step(number % 2), here.step(number % 2))
