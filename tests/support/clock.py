"""Measures how long something took, on a machine that may be busy with other work.

Knows the kernel's account of processes that waited for a processor (see procfs). Python 3.10 and up. Without it, all
time counts.
"""

import time

from support import procfs

# Above this, a busy machine is no explanation: something hangs.
HANG_S = 60.0


class Clock:
    """A clock that starts when it is made."""

    def __init__(self) -> None:
        self._begun, self._stalled_s = time.monotonic(), procfs.stalled_s()

    @property
    def elapsed_s(self) -> float:
        """The wall-clock time since then."""
        return time.monotonic() - self._begun

    @property
    def took_s(self) -> float:
        """The same without the time in which a process here waited for a processor; from HANG_S on all of the time.

        So a test checks a promise to half a second on an idle machine, as in CI, and does not fail on a busy one.
        """
        elapsed_s = self.elapsed_s
        return elapsed_s if elapsed_s > HANG_S else max(0.0, elapsed_s - (procfs.stalled_s() - self._stalled_s))

    def is_within(self, least_s: float, most_s: float) -> bool:
        """Whether at least ``least_s`` have passed and at most ``most_s`` were taken."""
        return least_s <= self.elapsed_s and self.took_s <= most_s
