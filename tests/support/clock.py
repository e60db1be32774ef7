"""How long something took, on a machine that may be busy with other things.

Knows the kernel's account of who waited for a processor (see procfs). Python 3.10 and up. Where there is none,
all time counts.
"""

import time

from support import procfs

# Beyond this nobody can say that the machine was busy: something hangs.
HANG_S = 60.0


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._begun, self._stalled_s = time.monotonic(), procfs.stalled_s()

    @property
    def elapsed_s(self) -> float:
        """What a clock on the wall says."""
        return time.monotonic() - self._begun

    @property
    def took_s(self) -> float:
        """The same without the time in which something here waited for a processor; all of it once that is long.

        So what was promised is tested to the half second where there is nothing else to do, as in CI, and a busy
        machine breaks no promise.
        """
        elapsed_s = self.elapsed_s
        return elapsed_s if elapsed_s > HANG_S else max(0.0, elapsed_s - (procfs.stalled_s() - self._stalled_s))

    def is_within(self, least_s: float, most_s: float) -> bool:
        """Whether not less time has gone by, and not more was taken."""
        return least_s <= self.elapsed_s and self.took_s <= most_s
