"""Forks at any line of a call, as in a signal handler: the child comes back to the call and gets a ForkedError.

Or it gets the result, if that was there before the fork. Neither that nor what it got earlier ever changes. The parent
goes on as if it had not forked. The short forms try some of the lines, the long forms all.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from support.interrupts import EACH, OURS
from support.opened import opened
from support.paced_envs import paced

from gym_service.errors import ForkedError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

KWARGS = {"side": 96}
NONE, NONES = 0, np.zeros(2, np.int64)
FORKED, HAS_RESULT = 10, 11

Act = Callable[[], Any]  # makes a step, and returns the observation


@contextmanager
def single(step: Callable[[Any], Any]) -> Iterator[Act]:
    with opened("Paced-v0", "paced", kwargs=KWARGS) as env:
        env.reset()
        yield lambda: step(env)


@contextmanager
def batch(step: Callable[[Any], Any], workers: int) -> Iterator[Act]:
    with paced(2, workers=workers, kwargs=KWARGS) as envs:
        envs.reset()
        yield lambda: step(envs)


ACTS: dict[str, Callable[[], Any]] = {
    "step": lambda: single(lambda env: env.step(NONE)[0]),
    "halves": lambda: single(lambda env: [env.step_async(NONE), env.step_wait()][1][0]),
    "batch of one worker": lambda: batch(lambda envs: envs.step(NONES)[0], 1),
    "batch of two workers": lambda: batch(lambda envs: envs.step(NONES)[0], 2),
    "halves of a batch": lambda: batch(lambda envs: [envs.step_async(NONES), envs.step_wait()][1][0], 2),
    "send and recv": lambda: batch(lambda envs: [envs.send(NONES), envs.recv(2)][1][0], 2),
}


class ForkAt:
    """Forks once, at the ``point``-th line of the client's code."""

    def __init__(self, point: int) -> None:
        self.left = point
        self.child = -1
        self.gate = os.pipe()
        self.where = ""

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        is_ours = (frame.f_globals.get("__name__") or "").startswith(OURS)
        return self._line if is_ours else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and self.child < 0:
            self.left -= 1
            if self.left < 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self.child = os.fork()
        return self._line

    def child_ends(self, error: BaseException | None, told: Callable[[], bool]) -> None:
        """In the child: wait until the parent has gone on, look again, and end."""
        try:
            os.close(self.gate[1])
            os.read(self.gate[0], 1)
            ending = HAS_RESULT if error is None else FORKED if type(error) is ForkedError else 1
            os._exit(ending if told() else 2)
        finally:
            os._exit(3)

    def exit_code(self) -> int:
        """Let the child go on, and wait for its end."""
        os.write(self.gate[1], b"!")
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])

    def close(self) -> None:
        for fd in self.gate:
            os.close(fd)


def told(kept: list[tuple[Any, int]]) -> bool:
    return all((observation == number % 256).all() for observation, number in kept)


@pytest.mark.parametrize("every", [37, EACH])
@pytest.mark.parametrize("what", ACTS)
def test_what_a_child_has_never_changes(what: str, every: int) -> None:
    endings: list[int] = []
    with ACTS[what]() as act, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork in a process with threads
        steps = 8
        kept = [(act(), number) for number in range(1, steps + 1)][-2:]
        for point in range(0, 10_000, every):
            fork = ForkAt(point)
            error = None
            steps += 1
            sys.settrace(fork.trace)
            try:
                kept.append((act(), steps))
            except BaseException as raised:  # noqa: BLE001 - the child, or the parent by mistake
                error = raised
            sys.settrace(None)
            if fork.child == 0:
                fork.child_ends(error, lambda: told(kept))  # noqa: B023
            assert error is None, fork.where
            assert told(kept), fork.where
            if fork.child < 0:
                fork.close()
                break
            del kept[:]
            for _ in range(4):
                steps += 1
                kept = [(act(), steps)]
                assert told(kept), fork.where
            endings.append(fork.exit_code())
            fork.close()
            assert endings[-1] in (FORKED, HAS_RESULT), fork.where
    assert endings.count(FORKED) > len(endings) / 2
