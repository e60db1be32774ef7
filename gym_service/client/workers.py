"""The servers of one vector env: a call to all of them is sent to each before the first answer is read.

Knows connections, which of their errors are final, and whether all are in the same step. Never knows an observation.
Python 3.10 and up.

Interrupts. As in ``exchange.py``, nothing is repaired when one comes. The next call finishes the interrupted one in
each worker. If that one was sent to only some of them, those have made a step that the others have not. Then each step
is refused until a reset of all envs. The workers' call ids show where it was sent: they are recorded before a call, and
afterwards none, all, or some of them have increased.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gymnasium.error import NoAsyncCallError, ResetNeeded

from gym_service.client import error_mapping
from gym_service.client.call_queue import CallQueue, Ticket, new_ticket
from gym_service.client.connection import Connection, close_all
from gym_service.client.exchange import WIRE_ERRORS
from gym_service.errors import CannotCross, EnvError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import Frame

T = TypeVar("T")
Call = tuple[int, Packed]  # kind, arguments
Prepare = Callable[[], Sequence[Callable[[Frame], T]]]

# After these calls the envs of a worker are in another step.
_STEPS = (
    messages.VEC_STEP,
    messages.VEC_STEP_PACKED,
    messages.VEC_RESET,
    messages.STEP_SOME,
    messages.STEP_SOME_PACKED,
    messages.RESET_SOME,
)


class Workers:
    """Connections that are called together. If one of them fails for good, all of them are closed."""

    def __init__(self, connections: Sequence[Connection], limits_s: Mapping[str, float], num_envs: int) -> None:
        self._connections = connections
        self._limits_s = limits_s
        self._num_envs = num_envs
        self._queue = CallQueue()
        self._tickets = self._queue.tickets
        for connection in connections:
            connection.share_queue(self._queue)
        self._sending: tuple[int, list[int]] | None = None  # kind and last ids of a call while it is being sent
        self._are_in_step = True
        self._half_reads: Sequence[Callable[[Frame], Any]] = ()
        self._half_resets: Sequence[int] = ()  # the envs that half a call resets

    def is_free(self) -> bool:
        """Whether a step of all envs can be made at once, for a call that has its turn."""
        return self._sending is None and self._are_in_step

    def leave_one(self, ticket: Ticket, error: BaseException) -> BaseException:
        """End a call to the only worker that has failed or was interrupted. Returns the exception to raise."""
        mapped = error
        if self._tickets and self._tickets[0] is ticket:
            self._connections[0].keep_unsent()
            mapped = self._connections[0].explained(error)
        self._leave_with(ticket, mapped)
        return mapped

    @property
    def arrays_seen(self) -> str | None:
        """The origin of arrays of other libraries, as in ``ArrayMaker.seen``: the first worker's; all are alike."""
        return self._connections[0].arrays.seen

    def call(self, calls: Sequence[Call], prepare: Prepare[T], *, resets_all: bool = False) -> list[T]:
        """Make a call to each worker. Returns their answers, in order.

        Blocks and raises as ``Connection.call``. If a simulator has raised, the other workers' answers are read and
        dropped; of several errors the first worker's is raised.

        Args:
            calls: one for each worker, all of one kind.
            prepare: called when no other call is in progress. Completes the arguments, and returns for each worker the
                function that reads its answer.
            resets_all: whether it is a reset of all envs.

        Raises:
            ResetNeeded: an earlier call was interrupted when only some of the workers had it.
        """
        ticket = new_ticket()
        try:
            self._enter(ticket, calls, resets_all)
            reads = self._send(calls, prepare)
            self._are_in_step = self._are_in_step or resets_all
            answers = self._answers(reads)
            self._queue.leave(ticket)
        except BaseException as error:
            self._leave_with(ticket, error)
            raise
        self._warn()
        return answers

    @property
    def has_begun(self) -> bool:
        """Whether half a call is pending."""
        return self._queue.half is not None

    def begin(self, calls: Sequence[Call], prepare: Prepare[Any], resets: Sequence[int] = ()) -> None:
        """The first half of ``call``. Until ``finish`` has read the answers, other calls are refused.

        ``resets``: the envs that it resets.
        """
        resets_all = len(resets) == self._num_envs
        ticket = new_ticket()
        try:
            self._enter(ticket, calls, resets_all)
            self._half_reads, self._half_resets = self._send(calls, prepare), resets
            self._are_in_step = self._are_in_step or resets_all
            self._queue.half = ticket
            self._queue.leave(ticket)
        except BaseException as error:
            self._leave_with(ticket, error, ticket)
            raise

    def finish(self, name: str) -> list[Any]:
        """The second half of ``call``. Any thread may do so. Raises NoAsyncCallError if no call of this name was begun.

        ``name``: step, reset or call.
        """
        ticket: Ticket | None = None
        half: Ticket | None = None
        try:
            ticket, half = new_ticket(), self._queue.half
            self._tickets.append(ticket)
            if self._tickets[0] is not ticket or self._connections[0].is_closed:
                limit_s = self._limits_s.get(self._connections[0].during, math.inf)
                self._queue.wait_for_turn(ticket, self._connections[0], f"{name}_wait", limit_s, is_second_half=True)
            if half is None or half is not self._queue.half:
                raise NoAsyncCallError("nothing has begun whose answer could be waited for", f"{name}_wait")
            pending = self._connections[0].during  # of the half, since no other call is made until its second half
            if pending != name:
                text = f"a {pending} has begun, and no {name}\n  try: {pending}_wait()"
                raise NoAsyncCallError(text, f"{name}_wait")
            self._queue.half = None
            reads, self._half_reads = self._half_reads, ()
            answers = self._answers(reads)
            self._queue.leave(ticket)
        except BaseException as error:
            self._leave_with(ticket, error, half)
            raise
        self._warn()
        return answers

    def close(self, ask_s: float, reason: str = "it was closed with close()") -> None:
        """Close all at once. May be called repeatedly. Blocks as ``Connection.close`` of one of them."""
        close_all(self._connections, ask_s, reason)
        self._half_reads = ()

    # ------------------------------------------------------------------------------------------------------------

    def _enter(self, ticket: Ticket, calls: Sequence[Call], resets_all: bool) -> None:
        """Wait for the turn, and until all workers are idle."""
        kind = calls[0][0]
        self._take_turn(ticket, messages.CALL_NAMES[kind], self._limits_s[messages.CALL_NAMES[kind]])
        self._open(kind, resets_all)

    def _take_turn(self, ticket: Ticket, during: str, limit_s: float, *, is_second_half: bool = False) -> None:
        self._tickets.append(ticket)
        if self._tickets[0] is not ticket or self._queue.half is not None:
            self._queue.wait_for_turn(ticket, self._connections[0], during, limit_s, is_second_half=is_second_half)

    def _open(self, kind: int, resets_all: bool) -> None:
        """Make all workers idle, by finishing an interrupted call first."""
        limit_s = self._limits_s[messages.CALL_NAMES[kind]]
        for connection in self._connections:
            try:
                connection.open_call(kind, limit_s)
            except WIRE_ERRORS as error:
                raise connection.explained(error) from error
        if self._sending is not None:
            self._judge(self._sending)
        if not self._are_in_step and kind in _STEPS and not resets_all:
            raise ResetNeeded(
                "a call was interrupted when only some of the workers had it: their envs are not in the same step"
                "\n  try: reset(), of all envs"
            )

    def _judge(self, sending: tuple[int, list[int]]) -> None:
        """Find out whether an interrupt during sending has left some workers a step ahead of others."""
        kind, ids = sending
        has_it = [connection.last_id != before for connection, before in zip(self._connections, ids, strict=True)]
        if any(has_it) and not all(has_it) and kind in _STEPS:
            self._are_in_step = False
        self._sending = None

    def _send(self, calls: Sequence[Call], prepare: Prepare[T]) -> Sequence[Callable[[Frame], T]]:
        for connection, (_, arguments) in zip(self._connections, calls, strict=True):
            if arguments.size_bytes > connection.bound_bytes:
                raise error_mapping.too_large(arguments, connection.bound_bytes)
        reads = prepare()
        self._sending = calls[0][0], [connection.last_id for connection in self._connections]
        for connection, (kind, arguments), read in zip(self._connections, calls, reads, strict=True):
            try:
                connection.send_call(kind, arguments, read)
            except WIRE_ERRORS as error:
                raise connection.explained(error) from error
        self._sending = None
        return reads

    def _answers(self, reads: Sequence[Callable[[Frame], T]]) -> list[T]:
        answers: list[T] = []
        errors: list[Exception] = []
        for connection, read in zip(self._connections, reads, strict=True):
            try:
                answers.append(connection.read_answer(read))
            except (EnvError, CannotCross) as error:  # only of this simulator; the others' answers are read
                errors.append(error)
            except WIRE_ERRORS as error:
                raise connection.explained(error) from error
        if errors:
            raise errors[0]
        return answers

    def _leave_with(self, ticket: Ticket, error: BaseException, half: Ticket | None = None) -> None:
        """End a call that has failed or was interrupted. If a worker has failed for good, all are closed.

        Raises ForkedError if it goes on in a forked child.
        """
        try:
            if self._tickets and self._tickets[0] is ticket:
                for connection in self._connections:
                    connection.keep_unsent()
            failure = next((connection.failure for connection in self._connections if connection.failure), "")
            if failure:
                self.close(0.0, failure)
        finally:
            self._queue.leave_interrupted(ticket, error, half)
        if self._connections[0]._is_forked:
            mapped = self._connections[0].explained(error)
            if mapped is not error:
                raise mapped from error

    def _warn(self) -> None:
        for connection in self._connections:
            connection.issue_warnings()
