"""Starts another server after one has failed, and limits how often.

Knows a clock, a limit, and whether a connection has failed. Of the calls it knows only the one after which a step
needs a reset. Python 3.10 and up.

Interrupts. ``_connection`` is the failed connection until ``_attach`` has stored the new one and all that belongs to
it. So an interrupted restart leaves a failed env, whose next reset() starts a server, or a new env that needs a reset.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from gym_service.client.connection import Connection, one
from gym_service.errors import ServerCrashed
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder

# Starts a server that makes the env. Returns the connection to it and the env's description.
Opening = Callable[[], tuple[Connection, Mapping[str, Any]]]

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


class Restartable:
    """A part of an env of one server: the next server after that one has failed."""

    _restart: Opening | None
    _connection: Connection
    _finalizer: "weakref.finalize[..., Any]"
    _limits_s: Mapping[str, float]

    def _allow_restart(self, restart: Opening | None, at_close: Callable[[float], object] | None, close_s: Any) -> None:
        """Restart with ``restart``, None for never. ``at_close`` releases its resources within ``close_s`` seconds."""
        self._restart = restart
        self._at_close = weakref.finalize(self, at_close, close_s) if at_close else None
        self._restart_policy = RestartPolicy()
        self._restarting = threading.RLock()

    def _attach(self, connection: Connection, description: Mapping[str, Any]) -> None:
        """Hold the env of a server that has just made it: all of it or, if it is interrupted, nothing."""
        raise NotImplementedError

    def _start_again(self) -> bool:
        """Start another server if this one has failed. False if that is not needed. Raises as RestartPolicy."""
        with self._restarting:
            opening = self._restart
            if not opening or not self._connection.has_failed():
                return False  # another thread has started a server, or has closed the env
            self._restart_policy.wait_for_next(self._connection.failure)
            self._connection.close(0.0)  # it has failed, so its server has ended, unless an interrupt prevented that
            self._finalizer.detach()
            connection, description = opening()
            try:
                # If the reset is interrupted from here on, a step must not be one of an env without a reset.
                connection.call(messages.REQUIRE_RESET, Encoder(), self._limits_s["reset"], one)
                self._attach(connection, description)
            except BaseException:
                if self._connection is not connection:
                    connection.close(0.0)
                raise
            if self._restart is None:  # close() ran in the meantime, and closed the failed connection
                self._connection.close(0.0)
                self._finalizer.detach()
        return True

    def _close_connection(self, close_s: Any) -> None:
        """Close, and release what a restart needs. May be called repeatedly."""
        self._restart = None  # a closed env stays closed, even if its server had failed before
        self._connection.close(close_s)
        if self._at_close and (release := self._at_close.peek()):
            release[1](*release[2])
            self._at_close.detach()
        self._finalizer.detach()  # not earlier: an interrupted close() can be called again
