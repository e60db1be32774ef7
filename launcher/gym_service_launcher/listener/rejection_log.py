"""Log lines about rejected connections, limited in number: a flood of connections must not become a flood of lines.

Knows lines and time. Never knows why a connection is rejected. Python 3.10 and up.
"""

import math
import time
from collections.abc import Callable

# In one second. Further lines are counted.
MAX_LINES = 10


class RejectionLog:
    """Writes at most MAX_LINES a second, and then how many it has left out."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.due = math.inf
        """When ``flush`` must be called."""
        self._say = say
        self._second_ends = -math.inf
        self._lines = 0
        self._left_out = 0

    def write(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._second_ends:
            self.flush()
            self._second_ends, self._lines = now + 1.0, 0
        self._lines += 1
        if self._lines <= MAX_LINES:
            self._say(line)
        else:
            self._left_out += 1
            self.due = self._second_ends

    def flush(self) -> None:
        if self._left_out:
            connections = "connection was" if self._left_out == 1 else "connections were"
            self._say(f"{self._left_out} more {connections} rejected")
        self._left_out, self.due = 0, math.inf
