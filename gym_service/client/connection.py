"""A server that threads share: whole calls and halves of calls take turns until it is closed.

Knows turns and ends. Never knows what a call does on the wire (``exchange.py``), or how a server was started. Python
3.10 and up.
"""

import atexit
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from gymnasium.error import NoAsyncCallError

from gym_service.client.call_queue import CallQueue, Ticket, new_ticket
from gym_service.client.early_answers import EarlyAnswers
from gym_service.client.error_mapping import Peer
from gym_service.client.exchange import fields, one, read_nothing
from gym_service.protocol import messages
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import Frame
from gym_service.transport.channel import Channel
from gym_service.transport.weak_registry import WeakRegistry

__all__ = ["Connection", "SpacesChanged", "close_all", "fields", "one"]

T = TypeVar("T")


class SpacesChanged(Exception):
    """The spaces have changed, so the arguments must be packed again."""


class Connection(EarlyAnswers):
    """A channel with a server at its other end. One call at a time: a second thread's call waits for the first.

    ``call``, or ``begin`` and ``finish``, are for envs. The parts of a call (``exchange.py``) are for ``workers.py``,
    which makes one call on several connections at once and has its own queue for that.
    """

    def __init__(self, channel: Channel, peer: Peer) -> None:
        super().__init__(channel, peer)
        self.close_s = 0.0  # how long its server may take to close when the program ends
        self._queue = CallQueue()
        self._tickets = self._queue.tickets
        _channels.add(channel)
        _connections.add(self)

    def share_queue(self, queue: CallQueue) -> None:
        """Share one queue with other connections, which are called together with this one."""
        self._queue, self._tickets = queue, queue.tickets

    def call(
        self,
        kind: int,
        arguments: Packed,
        timeout_s: float,
        read: Callable[[Frame], T],
        tell: Callable[[T], None] | None = None,
        sent: Callable[[], None] | None = None,
        changes: int | None = None,
    ) -> T:
        """Make one call and read its answer.

        Blocks until the answer has arrived, at most ``timeout_s`` seconds (``math.inf``: no limit). Before that it
        waits for another thread's call, at most ``timeout_s`` seconds too. If this process itself was stopped past the
        deadline, it goes on for as long again while bytes arrive.

        Args:
            kind: one of the calls in ``messages``.
            arguments: its fields.
            timeout_s: for sending and the answer together.
            read: decodes the result from the answer, while its bytes are valid. After an interrupt the next call calls
                it and drops its result.
            tell: receives the result before any other thread's call can start. It must not raise.
            sent: is called when the call is sent. It must not raise.
            changes: the value of ``self.changes`` from before the arguments were packed with the spaces of then.

        Raises:
            SpacesChanged: the call that this one waited for has changed the spaces; nothing was sent.
            EnvError: the simulator raised. The connection stays usable, as after CannotCross.
            CannotCross: a value in the call or in the result has no form on the wire.
            CallTimeout: in the state ``waiting``, another thread's call took too long; nothing was sent, and nothing
                is closed. In any other state the connection is closed now.
            ServerCrashed, ConnectionLost, ProtocolError, VersionMismatch: the connection is closed now.
            ClosedError, ForkedError: the connection cannot be used.
            AlreadyPendingCallError: half a call is pending, or this thread is in the middle of one.
        """
        ticket = new_ticket()
        try:
            self._tickets.append(ticket)
            if self._tickets[0] is not ticket or self._queue.half is not None:
                self._queue.wait_for_turn(ticket, self, messages.CALL_NAMES[kind], timeout_s)
            self.open_call(kind, timeout_s)
            if changes is not None and changes != self.changes:
                raise SpacesChanged
            self.send_call(kind, arguments, read)
            if sent is not None:
                sent()
            result = self.read_answer(read, tell)
            self._tickets.remove(ticket)
            if self._tickets:
                self._queue.wake(1)
        except BaseException as error:
            mapped = self._leave_with(ticket, error)
            if mapped is error:
                raise
            raise mapped from error
        if self._warned:
            self.issue_warnings()
        return result

    def begin(
        self,
        kind: int,
        arguments: Packed,
        timeout_s: float,
        read: Callable[[Frame], Any] = read_nothing,
        changes: int | None = None,
    ) -> None:
        """The first half of ``call``: send it. Until ``finish`` has read its answer, other calls are refused.

        Blocks and raises as ``call``. ``read`` is for ``finish``, and for an answer that is dropped after an interrupt.
        """
        ticket = new_ticket()
        try:
            self._tickets.append(ticket)
            if self._tickets[0] is not ticket or self._queue.half is not None:
                self._queue.wait_for_turn(ticket, self, messages.CALL_NAMES[kind], timeout_s)
            self.open_call(kind, timeout_s)
            if changes is not None and changes != self.changes:
                raise SpacesChanged
            self.send_call(kind, arguments, read)
            self._queue.half = ticket
            self._queue.leave(ticket)
        except BaseException as error:
            mapped = self._leave_with(ticket, error, ticket)
            if mapped is error:
                raise
            raise mapped from error

    def finish(self, read: Callable[[Frame], Any] | None = None, tell: Callable[[Any], None] | None = None) -> Any:
        """The second half of ``call``: read the answer to the call that ``begin`` has sent. Any thread may do so.

        ``read`` decodes the result from the answer; by default the ``read`` of ``begin`` does.

        Blocks and raises as ``call``. Raises NoAsyncCallError if no call was begun.
        """
        ticket: Ticket | None = None
        half: Ticket | None = None
        try:
            ticket, half = new_ticket(), self._queue.half
            self._tickets.append(ticket)
            if self._tickets[0] is not ticket or self._closed_by or self._is_forked:
                self._queue.wait_for_turn(ticket, self, "step_wait", self._timeout_s, is_second_half=True)
            if half is None or half is not self._queue.half:
                raise NoAsyncCallError("nothing has begun whose answer could be waited for", "step_wait")
            self._queue.half = None  # from here on it is a whole call, so that an interrupt leaves nothing pending
            result = self.read_answer(read or self._read, tell)
            self._queue.leave(ticket)
        except BaseException as error:
            mapped = self._leave_with(ticket, error, half)
            if mapped is error:
                raise
            raise mapped from error
        if self._warned:
            self.issue_warnings()
        return result

    # -- the end ---------------------------------------------------------------------------------------------------

    def has_failed(self) -> bool:
        """Whether it was closed by anything but ``close()``, or an interrupt came where no call can go on.

        Never in a forked child of the process that made it.
        """
        if self._is_forked:
            return False
        is_unanswered = self._channel.outgoing[0] != self._answered
        if is_unanswered and not self._tickets and not self._closed_by and not self._channel.is_in_step:
            self._fail_in_doubt()
        return bool(self.failure)

    def close(self, ask_s: float, reason: str = "it was closed with close()") -> None:
        """Ask the server to end, then make sure that it does. May be called repeatedly, from any thread.

        Waits for an interrupted call, but not for a call in progress: that call ends with ClosedError, and so do those
        that wait for their turn. After an interrupt it can be called again, and goes on.

        Blocks for at most ``ask_s`` seconds and the time it takes to stop a server by force. In a forked child of the
        process that made the connection it does nothing, since the server belongs to the parent.
        """
        close_all([self], ask_s, reason)

    def leave_to_parent(self) -> None:
        """Close this forked child's copy without a warning, and use it no more."""
        self._is_forked = True
        self._channel.close_copy()

    def _can_be_asked(self, ticket: Ticket, was_closed: bool, deadline: float) -> bool:
        """Whether the server can be asked to close. Waits for another close(), but not for a call."""
        queue = self._queue
        while was_closed and not queue.is_first(ticket) and not queue.is_mine(ticket):
            if not queue.wait(ticket, deadline):
                break
        return not self.failure and queue.is_first(ticket)

    def _leave_with(self, ticket: Ticket, error: BaseException, half: Ticket | None = None) -> BaseException:
        """End a call that has failed or was interrupted. Returns the exception to raise."""
        try:
            if self._tickets and self._tickets[0] is ticket:
                self._channel.keep_unsent()
                error = self.explained(error)
        finally:
            self._queue.leave_interrupted(ticket, error, half)
        return error


def close_all(
    connections: Sequence[Connection], ask_s: float | None, reason: str = "it was closed with close()"
) -> None:
    """Close several connections as ``Connection.close`` closes one, all of them within the time of one.

    Each server is asked before the first answer is read. Those that do not end are stopped together, step by step. With
    ``ask_s`` of None, each has its own ``close_s``.
    """
    # The one that may take longest comes last.
    ours = sorted((each for each in connections if not each._is_forked), key=lambda each: each.close_s)
    queues = {id(connection._queue): connection._queue for connection in ours}.values()
    begun, ticket = time.monotonic(), new_ticket()
    deadlines = {connection: begun + (connection.close_s if ask_s is None else ask_s) for connection in ours}
    try:
        for queue in queues:
            queue.tickets.append(ticket)
        were_closed = [bool(connection._closed_by) for connection in ours]
        for connection in ours:
            connection._closed_by = connection._closed_by or reason
        for queue in queues:
            queue.wake()
        closings = zip(ours, were_closed, strict=True)
        asked = [each for each, was_closed in closings if each._can_be_asked(ticket, was_closed, deadlines[each])]
        for connection in asked:
            connection._send_close(deadlines[connection])
        for connection in asked:
            connection._await_close(deadlines[connection])
        for connection in ours:
            connection._channel.close()
        now = time.monotonic()
        remaining_s = {connection: max(0.0, deadlines[connection] - now) for connection in asked}
        _take_in_turn([connection._peer.close_in_steps(remaining_s.get(connection, 0.0)) for connection in ours])
        for connection in ours:
            connection._forget_call()
            connection._stop_counting()
    finally:
        for queue in queues:
            queue.leave(ticket)
    for connection in ours:
        connection.issue_warnings()


def _take_in_turn(closings: Sequence[Iterator[None]]) -> None:
    """Take the first step of each, then the second step of each, and so on."""
    while closings:
        closings = [steps for steps in closings if next(steps, _OVER) is not _OVER]


_OVER = object()


def _close_what_is_open() -> None:
    close_all([each for each in _connections.alive() if not each.is_closed], None, "the program has ended")


# When the program ends, weakref.finalize closes one env after the other. atexit calls functions in reverse order, so
# the function that closes all at once is registered after that of weakref, which this first use registers.
weakref.finalize(CallQueue, int)
atexit.register(_close_what_is_open)

# Notified of every fork: checking the pid in each call would cost more than checking a flag.
_connections = WeakRegistry()
_channels = WeakRegistry()


def _leave_all() -> None:
    """A forked child uses no copy of its parent's connections, and closes them without a warning."""
    for connection in _connections.alive():
        connection._is_forked = True
    for channel in _channels.alive():
        channel.close_copy()


os.register_at_fork(after_in_child=_leave_all)
