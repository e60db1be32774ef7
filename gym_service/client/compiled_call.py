"""One kind of call as one function, for calls of a few bytes.

Knows the parts of a call in ``connection.py`` and ``exchange.py``, which it repeats in the same order without their
intermediate objects. Never knows what a call does (``compiled_step.py``). Never keeps an env alive. Python 3.10 and up.

It makes a call only if nothing is unusual: no other thread's call, no half of a call, no interrupted call, no change
of the spaces since it was compiled. Otherwise it returns NOT_COMPILED and has changed nothing, and the general call
follows. There are two kinds of usual answers: one small result, and one result whose large arrays all lie in shared
memory. Any other answer stays with the decoder, and ``Exchange.read_answer`` reads it. So both ways can follow each
other at any point.

Interrupts. All that ``exchange.py`` says about them holds here too, since each assignment is the same: the call is sent
once ``channel.outgoing`` holds it, and answered once ``_answered`` is its id.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from gym_service.client.call_queue import Ticket, new_ticket
from gym_service.client.connection import Connection
from gym_service.client.observer import CallObserver
from gym_service.protocol import messages
from gym_service.protocol.frames import HEADER, HEADER_BYTES, HEADER_NUMBERS, MAGIC, VERSION, Frame, beginning_of
from gym_service.transport.leased_frames import LATEST_NOTICES, leased_frame, returns
from gym_service.transport.streams import ChannelTimeout

# What a compiled call returns if the general call must be made.
NOT_COMPILED: Any = object()

# Sends the head of a call, and returns its result or NOT_COMPILED. The other argument is the action, for an observer.
CompiledCall = Callable[[bytes | bytearray, Any], Any]
# Reads the result from the decoder's scratch buffer, in which the frame ends at this byte; or returns None.
ReadSmall = Callable[[int], Any]
Leave = Callable[[Ticket, BaseException], BaseException]
# Sends the call of this id with this head, and returns its result. The last argument is the action, for an observer.
Exchange = Callable[[int, bytes | bytearray, Any], Any]


def compile_call(
    connection: Connection,
    kind: int,
    limit_s: float,
    read_small: ReadSmall,
    read: Callable[[Frame], Any],
    *,
    observer: CallObserver | None = None,
    is_free: Callable[[], bool] | None = None,
    leave: Leave | None = None,
    changes: int | None = None,
    is_large: bool = False,
    answered_by: int = messages.STEPPED,
) -> CompiledCall:
    """A function that makes a call of one kind. It blocks and raises as ``Connection.call``.

    Args:
        connection: the connection to call.
        kind: a kind of step, or a reset.
        limit_s: as the ``timeout_s`` of ``Connection.call``.
        read_small: decodes the result if it is whole and has no buffers; it must not keep the env alive. Not used if
            ``is_large``.
        read: decodes any result from a frame; it must not keep the env alive either.
        observer: is told of each step.
        is_free: whether nothing else prevents the call, once it is its turn; by default nothing does.
        leave: ends a call that has failed, and returns the exception to raise; by default the connection does.
        changes: the value of ``connection.changes`` from before the layouts were read; by default the present one. With
            another value the function returns NOT_COMPILED.
        is_large: whether most answers lie in shared memory.
        answered_by: the kind of a usual answer.
    """
    queue, tickets, leave_with = connection._queue, connection._tickets, leave or connection._leave_with
    channel, of_changes = connection._channel, connection.changes if changes is None else changes
    beginning = beginning_of(answered_by)
    if is_large and channel.arena is not None:
        exchange = _exchange_in_slots(connection, kind, limit_s, read, observer, beginning, answered_by)
    else:
        exchange = _exchange(connection, kind, limit_s, read_small, read, observer, beginning)

    def call(head: bytes | bytearray, action: Any) -> Any:
        ticket = new_ticket()
        try:
            tickets.append(ticket)
            last_id = channel.outgoing[0]
            if (
                tickets[0] is not ticket
                or queue.half is not None
                or last_id != connection._answered
                or (is_free is not None and not is_free())
                or connection.changes != of_changes
                or connection._closed_by
                or connection._is_forked
            ):
                queue.leave(ticket)
                return NOT_COMPILED
            result = exchange(last_id + 1 & 0xFFFFFFFF, head, action)
            if connection._is_forked:
                connection.refuse()  # the arrays of the result are the parent's
            tickets.remove(ticket)
            if tickets:
                queue.wake(1)
        except BaseException as error:
            mapped = leave_with(ticket, error)
            if observer is not None:
                observer.failed(messages.STEP, (), mapped)
            if mapped is error:
                raise
            raise mapped from error
        if connection._warned:
            connection.issue_warnings()
        return result

    return call


def _exchange(
    connection: Connection,
    kind: int,
    limit_s: float,
    read_small: ReadSmall,
    read: Callable[[Frame], Any],
    observer: CallObserver | None,
    beginning: int,
) -> Exchange:
    """A function that sends the call of this id, and returns its result."""
    channel, header, during = connection._channel, HEADER.pack, messages.CALL_NAMES[kind]
    arena = channel.arena
    begin: Callable[[int, bytes], bool] = channel.begin
    read_some: Callable[..., Any] = channel.read_some
    scratch, unpack = channel.decoder.scratch, HEADER_NUMBERS.unpack_from
    tell = None if observer is None else observer.step_answered
    monotonic, has_limit = time.monotonic, limit_s != math.inf
    quiet_id = -1  # the id of the call after a compiled one

    def exchange(call_id: int, head: bytes | bytearray, action: Any) -> Any:
        nonlocal quiet_id
        connection._timeout_s, connection._during, connection._read = limit_s, during, read
        connection._calls[0] = call_id
        is_quiet = (call_id == quiet_id and call_id & LATEST_NOTICES) or arena is None or not arena.is_due(call_id)
        is_sent = is_quiet and begin(call_id, header(MAGIC, VERSION, kind, call_id, len(head), 0) + head)
        # From here on the server works.
        connection._deadline = deadline = monotonic() + limit_s if has_limit else None
        if not is_sent:
            try:
                channel.flush(deadline) if is_quiet else channel.send_head(kind, call_id, head, deadline)
            except ChannelTimeout:
                connection._go_on_late(channel.flush)
        if observer is not None:
            observer.step_sent((action,))
        try:
            sizes = read_some(deadline)
        except ChannelTimeout:  # read_answer() gets it again, and goes on if bytes still arrive
            sizes = None
        if sizes is None or len(sizes) != 1 or sizes[0] < HEADER_BYTES:
            return connection.read_answer(read, tell)
        end = sizes[0]
        is_small = unpack(scratch) == (beginning, call_id, end - HEADER_BYTES, 0)
        result = read_small(end) if is_small else None
        if result is None:
            return connection.read_answer(read, tell)
        if tell is not None:
            tell(result)
        connection._answered = call_id
        sizes.clear()
        quiet_id = call_id + 1
        return result

    return exchange


def _exchange_in_slots(
    connection: Connection,
    kind: int,
    limit_s: float,
    read: Callable[[Frame], Any],
    observer: CallObserver | None,
    beginning: int,
    answered_by: int,
) -> Exchange:
    """The same for answers in shared memory. Most calls return the memory of the answer before."""
    channel, header, during, arena = connection._channel, HEADER.pack, messages.CALL_NAMES[kind], connection.arena
    begin: Callable[..., bool] = channel.begin
    read_some: Callable[..., Any] = channel.read_some
    decoder, arrays = channel.decoder, connection.arrays
    tell = None if observer is None else observer.step_answered

    def exchange(call_id: int, head: bytes | bytearray, action: Any) -> Any:
        connection._timeout_s, connection._during, connection._read = limit_s, during, read
        connection._calls[0] = call_id
        returned = returns(arena, call_id)
        is_sent = False
        if returned is not None:
            descriptors, count, notes = returned
            piece = header(MAGIC, VERSION, kind, call_id, len(head), count) + descriptors + head
            is_sent = begin(call_id, piece, notes)
        # From here on the server works.
        connection._deadline = deadline = None if limit_s == math.inf else time.monotonic() + limit_s
        if not is_sent:
            try:
                channel.send_head(kind, call_id, head, deadline) if returned is None else channel.flush(deadline)
            except ChannelTimeout:
                connection._go_on_late(channel.flush)
        if observer is not None:
            observer.step_sent((action,))
        try:
            sizes = read_some(deadline)
        except ChannelTimeout:  # read_answer() gets it again, and goes on if bytes still arrive
            sizes = None
        is_whole = sizes is not None and len(sizes) == 1 and sizes[0] >= HEADER_BYTES
        frame = leased_frame(decoder, beginning, answered_by, call_id, sizes[0]) if is_whole else None
        if frame is None:
            return connection.read_answer(read, tell)
        frame.arrays = arrays
        result = read(frame)
        if tell is not None:
            tell(result)
        connection._answered = call_id
        decoder.take()
        return result

    return exchange
