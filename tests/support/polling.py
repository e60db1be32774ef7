"""Waits for a condition. No other test code polls until a deadline.

Knows the states of processes. Never knows what a process is for. Python 3.10 and up.
"""

import time
from collections.abc import Callable, Iterable

from support import procfs
from support.clock import Clock

# The time between two checks.
LOOK_S = 0.002
# For operations that take no time on an idle machine, but must wait for a processor on a busy one.
TIMEOUT_S = 60.0


def until(condition: Callable[[], object], what: str, within_s: float = TIMEOUT_S) -> float:
    """Wait until the condition holds. Returns the seconds that it took. Fails with ``what`` at the deadline."""
    clock = Clock()
    while not condition():
        if clock.took_s > within_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(LOOK_S)
    return clock.took_s


def until_dead(pids: Iterable[int], within_s: float = TIMEOUT_S) -> float:
    """Wait until all of these processes have ended. Returns the seconds that it took."""
    rest = set(pids)

    def all_dead() -> bool:
        rest.difference_update([pid for pid in rest if not procfs.state(pid)])
        return not rest

    described = ", ".join(f"{pid} {procfs.command_line(pid)}" for pid in rest)
    return until(all_dead, f"the end of {len(rest)} processes: {described}", within_s)


def until_state(pid: int, letters: str) -> None:
    """Wait until a process is in one of these states."""
    until(lambda: procfs.state(pid) and procfs.state(pid) in letters, f"process {pid} in a state of {letters}")
