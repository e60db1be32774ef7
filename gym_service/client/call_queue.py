"""A queue for threads that share an env: they make one call after the other.

Knows threads, their stacks, and halves of calls. Never knows what a call does. Python 3.10 and up.

The queue is a list of tickets, one for each call. The call of the first ticket has its turn. There is no other state: a
call enters with one ``append`` and leaves with one ``remove``. A ticket is a lock, on which its thread waits.

Interrupts. A signal handler may end a call between any two bytecodes, also those of its ``except`` and ``finally``.
(CPython 3.13.0 even skips them if the exception comes at the end of a ``while`` loop.) So a ticket may stay in the list
although its call has ended. The stack shows whether it is still in use, and no interrupt can falsify the stack: a call
in progress has a frame that holds its ticket. A thread that has to wait looks there first.
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

# How often a waiting thread checks whether the first ticket is still in use (seconds).
LOOK_S = 0.1

Ticket = Any  # a lock: its type has no public name before Python 3.13


class Calls(Protocol):
    """The object whose calls wait here."""

    @property
    def during(self) -> str:
        """The name of the call in progress, for errors."""

    def refuse(self) -> None:
        """Raise ClosedError or ForkedError if no more calls can be made."""


class CallQueue:
    """The calls of several threads, in order of arrival. After half a call, only its second half may come.

    A method that makes a call keeps its ticket in a local variable named ``ticket`` and appends it to ``tickets``. If
    the ticket is not first, or there is a ``half``, it calls ``wait_for_turn``. It ends with ``leave``.
    """

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.half: Ticket | None = None  # the ticket of a call whose first half is done

    def wait_for_turn(
        self, ticket: Ticket, calls: Calls, during: str, timeout_s: float, *, is_second_half: bool = False
    ) -> None:
        """Wait until a ticket is first. Blocks for at most ``timeout_s`` seconds.

        Args:
            ticket: the ticket, already appended.
            calls: the object whose turn it waits for.
            during: the name of the call that waits.
            timeout_s: the limit of that call.
            is_second_half: whether it is the second half of a pending call.

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
        """Wait until a ticket may be first, for at most LOOK_S. Returns False if the deadline has passed."""
        ticket.acquire(blocking=False)  # so that the next acquire() waits until ``leave`` or ``wake`` releases it
        remaining_s = deadline - time.monotonic()
        if remaining_s > 0 and self.tickets[0] is not ticket:
            ticket.acquire(timeout=min(remaining_s, LOOK_S))
        return remaining_s > 0

    def is_first(self, ticket: Ticket) -> bool:
        """Whether this ticket is first, after removing tickets that are no longer in use."""
        # Read once: another thread may leave between the check of its ticket and the removal.
        while (first := self.tickets[0]) is not ticket and not _is_in_use(first):
            self.leave(first)
        return first is ticket

    def is_mine(self, ticket: Ticket) -> bool:
        """Whether this thread is inside another call, for example if a signal handler makes this one."""
        return any(_holds(sys._getframe(1), other) for other in list(self.tickets) if other is not ticket)

    def leave(self, ticket: Ticket) -> None:
        """Remove a ticket if it is still there, and wake the call that is first then."""
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
        """Wake the first ``count`` waiting calls; by default all."""
        for ticket in self.tickets[:count]:
            try:
                ticket.release()
            except RuntimeError:
                pass  # it is not waiting


# Below, no variable is named "ticket": these frames are in the stack that is searched.


def _is_in_use(sought: Ticket) -> bool:
    """Whether the call with this ticket is in progress, in any thread."""
    if any(_holds(frame, sought) for frame in sys._current_frames().values()):
        return True
    # The frames of a suspended greenlet are in no thread's stack.
    kind = getattr(sys.modules.get("greenlet"), "greenlet", None)
    greenlets = [each for each in gc.get_objects() if isinstance(each, kind)] if kind else []
    return any(_holds(each.gr_frame, sought) for each in greenlets)


def _holds(frame: FrameType | None, sought: Ticket) -> bool:
    """Whether this frame, or one of its callers, holds the ticket."""
    while frame is not None:
        # The name is checked first: making a dict of all variables of a frame takes a hundred times as long.
        if "ticket" in frame.f_code.co_varnames and frame.f_locals.get("ticket") is sought:
            return True
        frame = frame.f_back
    return False
