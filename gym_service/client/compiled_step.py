"""The step of one env as one function, for actions and results that a layout packs into a few bytes.

Knows the layouts of an env, and the parts of a call in ``connection.py`` and ``exchange.py``, which it repeats in the
same order without their intermediate objects. Never keeps the env alive. Python 3.10 and up.

It makes a call only if nothing is unusual: no other thread's call, no half of a call, no interrupted call, no change
of the spaces since it was compiled, and no notice of shared memory to send. Otherwise it returns NOT_COMPILED and has
changed nothing, and the general call follows. An answer that is anything but the packed result of this step stays with
the decoder, and ``Exchange.read_answer`` reads it. So both ways can follow each other at any point.

Interrupts. All that ``exchange.py`` says about them holds here too, since each assignment is the same: the frame is
committed by ``channel.outgoing``, the call by ``_answered``.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gymnasium.spaces import GraphInstance

from gym_service.client.answers import step_result
from gym_service.client.call_queue import new_ticket
from gym_service.client.connection import Connection
from gym_service.client.observer import CallObserver
from gym_service.protocol import messages
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.frames import HEADER, HEADER_BYTES, MAGIC, VERSION
from gym_service.protocol.layout import Layout
from gym_service.protocol.results import BESIDE_BYTES, FLAG_VALUES, HAS_INFO, PACKED_STEP, STEPPED_BEGINNING
from gym_service.transport.streams import ChannelTimeout

# What a compiled step returns if the general call must make the step.
NOT_COMPILED: Any = object()

CompiledStep = Callable[[Any], Any]


def never(action: Any) -> Any:
    """The compiled step of an env whose steps cannot be compiled."""
    return NOT_COMPILED


def compile_step(
    connection: Connection,
    action_layout: Layout | None,
    layout: Layout | None,
    limit_s: float,
    observer: CallObserver | None,
) -> CompiledStep:
    """The step of an env whose spaces have these layouts now.

    It takes an action, and returns what ``RemoteEnv.step`` returns or NOT_COMPILED. Blocks and raises as
    ``Connection.call``.
    """
    if action_layout is None or action_layout.buffer_count or layout is None:
        return never
    queue, tickets, stamp, pack = connection._queue, connection._tickets, action_layout.stamp, action_layout.pack
    next_id, exchange = _turn(connection), _exchange(connection, layout, limit_s, observer)

    def step(action: Any) -> Any:
        head = bytearray(stamp)
        if not pack(action, head, ()):
            return NOT_COMPILED
        ticket = new_ticket()
        try:
            tickets.append(ticket)
            call_id = next_id(ticket)
            if call_id is None:
                queue.leave(ticket)
                return NOT_COMPILED
            result = exchange(call_id, head, action)
            tickets.remove(ticket)
            if tickets:
                queue.wake(1)
        except BaseException as error:
            mapped = connection._leave_with(ticket, error)
            if observer is not None:
                observer.failed(messages.STEP, (), mapped)
            if mapped is error:
                raise
            raise mapped from error
        if connection._warned:
            connection.issue_warnings()
        return result

    return step


def _turn(connection: Connection) -> Callable[[Any], int | None]:
    """A function that returns the id of the next call if this ticket has its turn and nothing is unusual, else None."""
    channel, queue, tickets = connection._channel, connection._queue, connection._tickets
    changes, arena = connection.changes, channel.arena

    def next_id(ticket: Any) -> int | None:
        last_id = channel.outgoing[0]
        if tickets[0] is not ticket or queue.half is not None or last_id != connection._answered:
            return None
        if connection.changes != changes or connection._closed_by or connection._is_forked:
            return None
        call_id: int = last_id + 1 & 0xFFFFFFFF
        return None if arena is not None and arena.is_due(call_id) else call_id

    return next_id


def _exchange(
    connection: Connection, layout: Layout, limit_s: float, observer: CallObserver | None
) -> Callable[[int, bytearray, Any], Any]:
    """A function that sends a packed action as the call of this id, and returns the result of the step."""
    channel, header, kind = connection._channel, HEADER.pack, messages.STEP_PACKED
    send: Callable[..., None] = channel.send_piece
    read_some: Callable[..., Any] = channel.read_some
    tell = None if observer is None else observer.step_answered
    read_general, read_packed = partial(step_result, layout), _reader(connection, layout)
    monotonic, has_limit = time.monotonic, limit_s != math.inf

    def exchange(call_id: int, head: bytearray, action: Any) -> Any:
        connection._deadline = deadline = monotonic() + limit_s if has_limit else None
        connection._timeout_s, connection._during, connection._read = limit_s, "step", read_general
        connection._calls[0] = call_id
        try:
            send(call_id, header(MAGIC, VERSION, kind, call_id, len(head), 0) + head, deadline)
        except ChannelTimeout:
            connection._go_on_late(channel.flush)
        if observer is not None:
            observer.step_sent((action,))
        try:
            sizes = read_some(deadline)
        except ChannelTimeout:  # read_answer() gets it again, and goes on if bytes still arrive
            sizes = None
        result = read_packed(call_id, sizes[0]) if sizes is not None and len(sizes) == 1 else NOT_COMPILED
        if result is NOT_COMPILED or sizes is None:
            return connection.read_answer(read_general, tell)
        if tell is not None:
            tell(result)
        connection._answered = call_id
        sizes.clear()
        return result

    return exchange


def _reader(connection: Connection, layout: Layout) -> Callable[[int, int], Any]:
    """A function that reads the answer to a call from the first bytes of the scratch buffer.

    It takes the call's id and the number of bytes, and returns NOT_COMPILED unless they are the whole packed result.
    Raises as ``results.unpack_step``.
    """
    if layout.buffer_count:
        return lambda call_id, size_bytes: NOT_COMPILED
    scratch = connection._channel.decoder.scratch
    observation = layout.reader(scratch, HEADER_BYTES + BESIDE_BYTES)
    unpack, version, info_at = PACKED_STEP.unpack_from, layout.version, BESIDE_BYTES + layout.head_bytes
    least_bytes = HEADER_BYTES + info_at

    def read(call_id: int, size_bytes: int) -> Any:
        if size_bytes < least_bytes:
            return NOT_COMPILED
        beginning, answered, head_bytes, buffers, reward, flags, packed_by = unpack(scratch)
        is_whole = size_bytes == HEADER_BYTES + head_bytes and not buffers
        if beginning != STEPPED_BEGINNING or answered != call_id or not is_whole or packed_by != version:
            return NOT_COMPILED
        if not flags and size_bytes == least_bytes:  # most steps
            return observation(), reward, False, False, {}
        if flags >= len(FLAG_VALUES) or (flags & HAS_INFO == 0) != (size_bytes == least_bytes):
            return NOT_COMPILED
        terminated, truncated, reward_type = FLAG_VALUES[flags]
        info: Any = {}
        if flags & HAS_INFO:
            rest = ValueDecoder(scratch[HEADER_BYTES:size_bytes], (), GraphInstance, info_at, connection.arrays)
            info = rest.read()
            rest.expect_end()
        return observation(), reward_type(reward), terminated, truncated, info

    return read
