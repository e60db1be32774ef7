"""Waits until one of several connections has something to read.

Knows descriptors and how long waits take. Never knows a call. Python 3.10 and up.
"""

import os
import select
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gym_service.transport.adaptive_spin import AdaptiveSpin

if TYPE_CHECKING:
    from gym_service.client.connection import Connection

# The longest wait, after which the caller checks whether anything was closed in the meantime (seconds).
LONGEST_S = 1.0


class Readiness:
    """The connections of one vector env, by their number."""

    def __init__(self, connections: "Sequence[Connection]") -> None:
        self._connections = connections
        self._poll: select.poll | None = None
        self._numbers: dict[int, int] = {}  # by descriptor
        self._polls: dict[int, select.poll] = {}  # of one connection each
        self._spin = AdaptiveSpin()
        self._processors = _processors()

    def now(self) -> list[int]:
        """The numbers of connections that have data, or have ended. Does not block. Raises as ``wait``."""
        return self._found((self._poll or self._made()).poll(0))

    def wait(self, until: float, busy: int) -> list[int]:
        """The numbers of connections that have data, or have ended. Blocks until there is one, or until ``until``.

        ``busy``: how many workers have a call. It spins only if they leave a processor free: otherwise it would keep
        one of them from running.

        Returns an empty list when ``until`` or LONGEST_S has passed. Raises ChannelClosed if one is closed already.
        """
        poll, spin = self._poll or self._made(), self._spin
        begun = time.perf_counter()
        found: list[tuple[int, int]] = []
        polls = 0
        is_one_free = busy < self._processors
        if is_one_free and spin.spinning:
            spin_until = begun + spin.spin_s
            found = poll.poll(0)
            polls = 1
            while not found and time.perf_counter() < spin_until:
                os.sched_yield()
                found = poll.poll(0)
                polls += 1
        if not found:
            polls = 0
            remaining_s = min(LONGEST_S, until - time.monotonic())
            found = poll.poll(max(0.0, remaining_s) * 1000)
        if is_one_free:
            spin.record_wait(time.perf_counter() - begun, polls)
        return self._found(found)

    def wait_for(self, number: int, until: float) -> bool:
        """Sleep until one connection has data or has ended, or until ``until``: if the workers can use every processor.

        Returns False at once if they leave one free: then a spin delays none of them. Raises ChannelClosed.
        """
        if len(self._connections) < self._processors:
            return False
        if number not in self._polls:
            poll = select.poll()
            self._connections[number].register(poll)
            self._polls[number] = poll
        self._polls[number].poll(max(0.0, until - time.monotonic()) * 1000)
        return True

    def _found(self, events: list[tuple[int, int]]) -> list[int]:
        return sorted({self._numbers[fd] for fd, _ in events}) if events else []

    def _made(self) -> select.poll:
        poll = select.poll()
        for number, connection in enumerate(self._connections):
            for fd in connection.register(poll):
                self._numbers[fd] = number
        self._poll = poll  # set last, so that an earlier interrupt has no effect
        return poll


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
