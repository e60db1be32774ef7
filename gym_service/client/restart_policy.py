"""Limits how often a failed server is restarted.

Knows a clock and a limit. Python 3.10 and up.
"""

import time
from collections import deque

from gym_service.errors import ServerCrashed

MAX_RESTARTS = 3
WITHIN_S = 60.0
# The pauses before the restarts: a simulator that cannot start now may be able to a moment later.
BACKOFFS_S = (0.0, 0.5, 2.0)


class RestartPolicy:
    """At most MAX_RESTARTS within WITHIN_S seconds, each after a longer pause. After that no restart is allowed."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()
        self._given_up = False

    def wait_for_next(self, reason: str) -> None:
        """Wait until the next restart is allowed. Blocks for at most the longest of BACKOFFS_S.

        Raises:
            ServerCrashed: there were too many. Every later call raises this too.
        """
        now = time.monotonic()
        while self._at and now - self._at[0] > WITHIN_S:
            self._at.popleft()
        if self._given_up or len(self._at) >= MAX_RESTARTS:
            self._given_up = True
            text = (
                f"the server failed {MAX_RESTARTS + 1} times within {WITHIN_S:g} s and is not started again: {reason}"
            )
            text += "\n  try: read the error of the last failure, and make a new env once its cause is gone"
            raise ServerCrashed(text, during="reset", exit_code=None, tail="")
        time.sleep(BACKOFFS_S[len(self._at)])
        self._at.append(time.monotonic())
