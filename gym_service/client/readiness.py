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
        self._spin = AdaptiveSpin()

    def now(self) -> list[int]:
        """The numbers of connections that have data, or have ended. Does not block. Raises as ``wait``."""
        return self._found((self._poll or self._made()).poll(0))

    def wait(self, until: float) -> list[int]:
        """The numbers of connections that have data, or have ended. Blocks until there is one, or until ``until``.

        Returns an empty list when ``until`` or LONGEST_S has passed. Raises ChannelClosed if one is closed already.
        """
        poll = self._poll or self._made()
        begun = time.perf_counter()
        polls = 0
        if self._spin.spinning:
            spin_until = begun + self._spin.spin_s
            found = poll.poll(0)
            polls = 1
            while not found and time.perf_counter() < spin_until:
                os.sched_yield()
                found = poll.poll(0)
                polls += 1
        else:
            found = []
        if not found:
            polls = 0
            remaining_s = min(LONGEST_S, until - time.monotonic())
            found = poll.poll(max(0.0, remaining_s) * 1000)
        self._spin.record_wait(time.perf_counter() - begun, polls)
        return self._found(found)

    def _found(self, events: list[tuple[int, int]]) -> list[int]:
        return sorted({self._numbers[fd] for fd, _ in events}) if events else []

    def _made(self) -> select.poll:
        poll = select.poll()
        for number, connection in enumerate(self._connections):
            for fd in connection.register(poll):
                self._numbers[fd] = number
        self._poll = poll  # set last, so that an earlier interrupt has no effect
        return poll
