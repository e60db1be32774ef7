"""Whose turn it is: threads that share an env make one call after the other.

Knows threads, their stacks, and halves of calls. Never knows what a call does. Python 3.10 and up.

The queue is a list of tickets, one for each call, and the first ticket's call has its turn. So there is one fact in one
place: a call enters with one ``append`` and leaves with one ``remove``, and the list says who is first. A ticket is a
lock, on which the thread that holds it waits.

Interrupts. The handler of a signal may end a call between any two bytecodes, also those of its ``except`` and
``finally``. (CPython 3.13.0 even skips them where the exception comes at the end of a ``while`` loop.) So a ticket may
stay in the list although nobody will remove it. Whether one is still in use is decided by the only witness that no
interrupt can falsify, the stack: a call that is under way has a frame that holds its ticket. A thread that has to wait
looks there first.
"""

import gc
import sys
import time
from _thread import allocate_lock as new_ticket
from types import FrameType
from typing import Any, Protocol

from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError

from gym_service.client import error_mapping
from gym_service.errors import CallTimeout, ForkedError

__all__ = ["CallQueue", "Ticket", "new_ticket"]

# How often a waiting thread looks whether the first ticket is still in use (seconds).
LOOK_S = 0.1

Ticket = Any  # a lock: its type has no public name before Python 3.13


class Calls(Protocol):
    """What makes the calls that wait here."""

    @property
    def during(self) -> str:
        """The name of the call under way, for errors."""

    def refuse(self) -> None:
        """Raise ClosedError or ForkedError where no call can be made any more."""


class CallQueue:
    """Calls of several threads, first come, first served; and half a call, which refuses all others until it is whole.

    A method that makes a call has its ticket in a local variable named ``ticket`` and appends it to ``tickets``. Where
    it is not first then, or there is a ``half``, it calls ``wait_for_turn``. It ends with ``leave``.
    """

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.half: Ticket | None = None  # of the call that has begun half a call

    def wait_for_turn(
        self, ticket: Ticket, calls: Calls, during: str, timeout_s: float, *, is_second_half: bool = False
    ) -> None:
        """Wait until a ticket is first. Blocks for at most ``timeout_s`` seconds.

        Args:
            ticket: that has been appended.
            calls: whose turns these are.
            during: the name of the call that waits.
            timeout_s: its own limit.
            is_second_half: whether it is what half a call waits for.

        Raises:
            AlreadyPendingCallError: half a call is pending, or this thread is in the middle of another call.
            CallTimeout: in the state ``waiting``. Nothing was sent, and nothing is closed.
            ClosedError, ForkedError: as ``calls.refuse``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            calls.refuse()
            if self.half is not None and not is_second_half:
                text = (
                    f"{during} was called while {calls.during} waits for its answer\n  try: {calls.during}_wait() first"
                )
                raise AlreadyPendingCallError(text, calls.during)
            if self.is_first(ticket):
                return
            if self.is_mine(ticket):
                text = f"{during} was called by this thread in the middle of {calls.during}"
                raise AlreadyPendingCallError(text, calls.during)
            if not self.wait(ticket, deadline):
                raise error_mapping.waited(during, timeout_s, calls.during)

    def wait(self, ticket: Ticket, deadline: float) -> bool:
        """Wait for a moment until a ticket may be first. Blocks for at most LOOK_S. False: the deadline has passed."""
        ticket.acquire(blocking=False)  # so that the next acquire() waits for a release, by ``leave`` or ``wake``
        remaining_s = deadline - time.monotonic()
        if remaining_s > 0 and self.tickets[0] is not ticket:
            ticket.acquire(timeout=min(remaining_s, LOOK_S))
        return remaining_s > 0

    def is_first(self, ticket: Ticket) -> bool:
        """Whether it is this ticket's turn, once tickets that nobody uses are removed."""
        # Read once: another thread may leave between the look at its ticket and the removal.
        while (first := self.tickets[0]) is not ticket and not _is_in_use(first):
            self.leave(first)
        return first is ticket

    def is_mine(self, ticket: Ticket) -> bool:
        """Whether this thread is in the middle of another call: this one is made by the handler of a signal, say."""
        return any(_holds(sys._getframe(1), other) for other in list(self.tickets) if other is not ticket)

    def leave(self, ticket: Ticket) -> None:
        """Remove a ticket, if it is still there, and wake the call that is first then."""
        try:
            self.tickets.remove(ticket)
        except ValueError:
            pass
        self.wake(1)

    def leave_interrupted(self, ticket: Ticket, error: BaseException, half: Ticket | None) -> None:
        """Leave after an error, and abandon the half of a call that the caller began or was about to finish."""
        if (
            half is not None
            and self.half is half
            and not isinstance(error, (CallTimeout, ForkedError, NoAsyncCallError))
        ):
            self.half = None
        self.leave(ticket)

    def wake(self, count: int | None = None) -> None:
        """Wake the first so many calls that wait; by default all."""
        for ticket in self.tickets[:count]:
            try:
                ticket.release()
            except RuntimeError:
                pass  # it does not wait


# Below, a ticket goes by another name: these frames are in the stack that is searched.


def _is_in_use(sought: Ticket) -> bool:
    """Whether the call with this ticket is under way, in whatever thread."""
    if any(_holds(frame, sought) for frame in sys._current_frames().values()):
        return True
    # A greenlet that does not run has its frames in no thread's stack.
    kind = getattr(sys.modules.get("greenlet"), "greenlet", None)
    greenlets = [each for each in gc.get_objects() if isinstance(each, kind)] if kind else []
    return any(_holds(each.gr_frame, sought) for each in greenlets)


def _holds(frame: FrameType | None, sought: Ticket) -> bool:
    """Whether this frame, or one that waits for it to return, has the ticket."""
    while frame is not None:
        # The name first: to make a dict of all the variables of a frame takes a hundred times as long.
        if "ticket" in frame.f_code.co_varnames and frame.f_locals.get("ticket") is sought:
            return True
        frame = frame.f_back
    return False
