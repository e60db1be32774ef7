"""``FaultyEnv`` behind a bridge, and what is asked of it.

Knows tests/envs/faulty.py and gym_service.make. Python 3.10 and up.
"""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from gym_service_launcher import records
from opened import TARGET, opened

from gym_service import RemoteEnv

TRANSPORTS = ("unix", "stdio")
METHODS = ("reset", "step", "render")
# What may pass on a busy machine beside what was promised (seconds). The promise itself is part of each assertion.
PROMPT_S = 0.5


def alternately(*cases: Iterable[Any]) -> list[ParameterSet]:
    """Each combination over both transports; the second of them, which is the other one each time, in the long form."""
    return [
        pytest.param(*case, transport, marks=[pytest.mark.long] if (index + place) % 2 else [])
        for index, case in enumerate(itertools.product(*cases))
        for place, transport in enumerate(TRANSPORTS)
    ]


@contextmanager
def faulty(target: str = TARGET, **given: Any) -> Iterator[RemoteEnv]:
    """The env, well-behaved so far."""
    with opened("Faulty", target=target, entry_point="faulty:FaultyEnv", **given) as env:
        yield env


@contextmanager
def armed(on: str, what: str, **given: Any) -> Iterator[RemoteEnv]:
    """The env after a reset, with a fault that the next call of a method will meet."""
    with faulty(**given) as env:
        env.reset()
        env.call("arm", on, what)
        yield env


def act(env: RemoteEnv, method: str, number: int = 1) -> Any:
    """One call of a method of Gymnasium's contract."""
    if method == "step":
        return env.step(action(number))
    return env.reset() if method == "reset" else env.render()


def calls_of(pid: int) -> int:
    """How many calls a server has been sent so far, as gym-service ps has it."""
    return next(server.calls for server in records.running() if server.pid == pid)


def action(number: int) -> Any:
    """An action that no other step of a test has."""
    return np.array([number, -7 * number], np.int64)


def assert_exact(env: RemoteEnv, steps: int, first: int = 1) -> None:
    """From a reset on, each of so many steps is the answer to its own action."""
    observation, _ = env.reset()
    assert observation["answers"].tolist() == [0, 0, 0]
    for number in range(1, steps + 1):
        named = first + number
        observation, reward, terminated, truncated, info = env.step(action(named))
        assert observation["answers"].tolist() == [number, named, -7 * named]
        assert (observation["image"] == named % 256).all()
        assert (reward, terminated, truncated, info) == (float(named), False, False, {"number": number})
