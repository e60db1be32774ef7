"""``FaultyEnv`` through gym-service, and the calls that tests make to it.

Knows tests/fixture_envs/faulty.py and gym_service.make. Python 3.10 and up.
"""

import itertools
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from gym_service_launcher.processes import pidfiles

from gym_service import RemoteEnv, errors
from support import polling
from support.clock import Clock
from support.opened import TARGET, opened

TRANSPORTS = ("unix", "stdio")
METHODS = ("reset", "step", "render")
# The time that may pass on a busy machine in addition to a promised time (seconds). Each assertion states the latter.
PROMPT_S = 0.5
# The sides of an image: the usual one, and one whose 75 KiB are more than a message carries inline.
SIDES = (96, 160)
# The number of observations to keep, and the distance between them in steps. A kept observation must never change.
KEPT, KEPT_EVERY = 30, 7


def alternately(*cases: Iterable[Any]) -> list[ParameterSet]:
    """Each combination of the cases with both transports. One of the two, in turn, is marked ``long``."""
    return [
        pytest.param(*case, transport, marks=[pytest.mark.long] if (index + place) % 2 else [])
        for index, case in enumerate(itertools.product(*cases))
        for place, transport in enumerate(TRANSPORTS)
    ]


@contextmanager
def faulty(target: str = TARGET, **given: Any) -> Iterator[RemoteEnv]:
    """The env, without faults so far."""
    with opened("Faulty", target=target, entry_point="faulty:FaultyEnv", **given) as env:
        yield env


@contextmanager
def armed(on: str, what: str, **given: Any) -> Iterator[RemoteEnv]:
    """The env after a reset, with a fault that the next call of a method triggers."""
    with faulty(**given) as env:
        env.reset()
        env.call("arm", on, what)
        yield env


def refused_at_start(reached: str, transport: str, what: str, limit_s: float) -> errors.ServerStartError:
    """The error of an env that stops responding while it is made, at its time limit.

    A busy machine may be too slow to reach what the error must contain, ``reached``: then the limit is raised.
    """
    for given_s in (limit_s, 10 * limit_s, 30 * limit_s):
        clock = Clock()
        with (
            pytest.raises(errors.ServerStartError) as caught,
            faulty(on="make", what=what, transport=transport, timeouts={"start": given_s}),
        ):
            pass
        if reached in str(caught.value):
            break
    # The kill takes some time too.
    assert clock.is_within(given_s, given_s + 2 * PROMPT_S)
    return caught.value


def act(env: RemoteEnv, method: str, number: int = 1) -> Any:
    """Make one call of a method of Gymnasium's API."""
    if method == "step":
        return env.step(action(number))
    return env.reset() if method == "reset" else env.render()


def calls_of(pid: int) -> int:
    """The number of calls that a server has received so far, according to gym-service ps."""
    return next(server.calls for server in pidfiles.list_servers() if server.pid == pid)


def action(number: int) -> Any:
    """An action that is different in each step of a test."""
    return np.array([number, -7 * number], np.int64)


def assert_exact(env: RemoteEnv, steps: int, first: int = 1) -> None:
    """After a reset, each of ``steps`` steps answers its own action, and kept observations do not change."""
    observation, _ = env.reset()
    assert observation["answers"].tolist() == [0, 0, 0]
    kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)
    for number in range(1, steps + 1):
        named = first + number
        observation, reward, terminated, truncated, info = env.step(action(named))
        assert observation["answers"].tolist() == [number, named, -7 * named]
        assert (observation["image"] == named % 256).all()
        assert (reward, terminated, truncated, info) == (float(named), False, False, {"number": number})
        if number % KEPT_EVERY == 0:
            kept.append((named, observation["image"]))
    assert all((image == named % 256).all() for named, image in kept)


def signal_and_die(env: RemoteEnv, what: str) -> None:
    """Trigger a fault in the server while it waits for a call. Returns when the server is dead."""
    env.call("arm_signal", what)
    os.kill(env.target["pid"], signal.SIGUSR1)
    polling.until_dead([env.target["pid"]])
