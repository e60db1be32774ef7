"""The steps that ``compiled_call.py`` makes.

They are those of one env, of a vector env with one worker, of a vectorized simulator, and of several agents. Knows
layouts and the packed form of results. Never knows how bytes travel. Never keeps an env alive. Python 3.10 and up.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance

from gym_service.client.answers import step_result
from gym_service.client.compiled_call import NOT_COMPILED, CompiledCall, Leave, ReadSmall, compile_call
from gym_service.client.connection import Connection
from gym_service.client.observer import CallObserver
from gym_service.protocol import messages
from gym_service.protocol.agent_results import AgentLayouts
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.frames import HEADER_BYTES, Frame
from gym_service.protocol.layout import STAMP, Layout
from gym_service.protocol.plain_arrays import ArrayWriter
from gym_service.protocol.result_forms import FormReader
from gym_service.protocol.results import (
    BESIDE_BYTES,
    BY_FORM,
    BYTES_BESIDE,
    FLAG_VALUES,
    HAS_INFO,
    NO_INFOS,
    REWARD_AND_FLAGS,
)

# Takes an action, and returns what step() returns or NOT_COMPILED.
CompiledStep = Callable[[Any], Any]


def never(action: Any) -> Any:
    """The compiled step of an env whose steps cannot be compiled."""
    return NOT_COMPILED


def compile_step(
    connection: Connection,
    action_layout: Layout | None,
    layout: Layout | None,
    forms: FormReader,
    limit_s: float,
    observer: CallObserver | None,
    changes: int,
) -> CompiledStep:
    """The step of an env whose spaces have these layouts. Blocks and raises as ``Connection.call``.

    ``changes`` is the value of ``connection.changes`` from before the layouts were read.
    """
    if layout is None or (layout.buffer_count and connection.encodes_images):
        return never
    given = limit_s, _result_reader(connection, layout, forms), partial(step_result, layout, forms)
    is_large = layout.buffer_count > 0
    packed, general = (
        compile_call(connection, kind, *given, observer=observer, changes=changes, is_large=is_large)
        for kind in (messages.STEP_PACKED, messages.STEP)
    )
    return _packing_or_writing(action_layout, packed, general)


def compile_batch_step(
    connection: Connection,
    action_layout: Layout | None,
    layout: Layout | None,
    count: int,
    limit_s: float,
    read: Callable[[Frame], Any],
    is_free: Callable[[], bool],
    leave: Leave,
) -> CompiledStep:
    """The step of a vector env whose envs are all at this connection: see ``compile_call``.

    It returns a batch, or the WorkerResult that ``read`` returns.
    """
    if action_layout is None or action_layout.buffer_count or layout is None:
        return never
    read_small, kind = _batch_reader(connection, layout, count), messages.VEC_STEP_PACKED
    if read_small is None:
        return never
    call = compile_call(connection, kind, limit_s, read_small, read, is_free=is_free, leave=leave)
    return _packing(action_layout, call)


def compile_vectorized_step(
    connection: Connection,
    action_layout: Layout | None,
    forms: FormReader,
    limit_s: float,
    read: Callable[[Frame], Any],
) -> CompiledStep:
    """The step of a simulator that is a vector env itself."""
    given = limit_s, _form_reader(forms, connection._channel.decoder.scratch), read
    packed, general = (compile_call(connection, kind, *given) for kind in (messages.STEP_PACKED, messages.STEP))
    return _packing_or_writing(action_layout, packed, general)


def compile_agents_step(
    connection: Connection, layouts: AgentLayouts, limit_s: float, read: Callable[[Frame], Any], changes: int
) -> CompiledStep:
    """The parallel step of several agents, which takes and returns dicts by agent.

    ``changes`` is the value of ``connection.changes`` as long as the layouts are right.
    """
    if layouts.all_agents is None:
        return never
    pack: Callable[[Any], bytearray | None] = layouts.all_agents.pack_actions
    unpack: Callable[[int], Any] = layouts.all_agents.step_reader(connection._channel.decoder.scratch, HEADER_BYTES)

    def read_small(end: int) -> Any:
        result = unpack(end - HEADER_BYTES)
        return NOT_COMPILED if result is None else result

    call = compile_call(connection, messages.AGENT_STEP_PACKED, limit_s, read_small, read, changes=changes)

    def step(actions: Any) -> Any:
        head = pack(actions)
        return NOT_COMPILED if head is None else call(head, actions)

    return step


def _packing(layout: Layout, call: CompiledCall) -> CompiledStep:
    """A function that packs an action with a layout, and makes the call if it fits."""
    stamp, pack = layout.stamp, layout.pack

    def step(action: Any) -> Any:
        head = bytearray(stamp)
        return call(head, action) if pack(action, head, ()) else NOT_COMPILED

    return step


def _packing_or_writing(layout: Layout | None, packed: CompiledCall, general: CompiledCall) -> CompiledStep:
    """The same; an array that does not fit, as one of another dtype, goes in the general form."""
    write: Callable[[Any], bytes | None] = ArrayWriter().write
    stamp: bytes = b"" if layout is None else layout.stamp
    pack: Callable[..., bool] = _pack_nothing if layout is None or layout.buffer_count else layout.pack

    def step(action: Any) -> Any:
        head = bytearray(stamp)
        if pack(action, head, ()):
            return packed(head, action)
        written = write(action)
        return NOT_COMPILED if written is None else general(written, action)

    return step


def _pack_nothing(action: Any, head: bytearray, buffers: Any) -> bool:
    return False


def _result_reader(connection: Connection, layout: Layout, forms: FormReader) -> ReadSmall:
    """A function that reads a step's result. Raises as ``results.unpack_step``."""
    scratch, unpack, version = connection._channel.decoder.scratch, REWARD_AND_FLAGS.unpack_from, layout.version
    observation, info_at = layout.reader(scratch, HEADER_BYTES + BESIDE_BYTES), BESIDE_BYTES + layout.head_bytes
    if observation is None:
        return lambda end: NOT_COMPILED  # the call is compiled, and a large answer is read in the general way
    least_bytes, by_form = HEADER_BYTES + info_at, _form_reader(forms, scratch)

    def read(end: int) -> Any:
        if end < HEADER_BYTES + BESIDE_BYTES:
            return NOT_COMPILED
        reward, flags, packed_by = unpack(scratch, HEADER_BYTES)
        if flags == BY_FORM:
            return by_form(end)
        if packed_by != version or end < least_bytes:
            return NOT_COMPILED
        if not flags and end == least_bytes:  # most steps
            return observation(), reward, False, False, {}
        if flags >= len(FLAG_VALUES) or (flags & HAS_INFO == 0) != (end == least_bytes):
            return NOT_COMPILED
        terminated, truncated, reward_type = FLAG_VALUES[flags]
        info: Any = {}
        if flags & HAS_INFO:
            rest = ValueDecoder(scratch[HEADER_BYTES:end], (), GraphInstance, info_at, connection.arrays)
            info = rest.read()
            rest.expect_end()
        return observation(), reward_type(reward), terminated, truncated, info

    return read


def _form_reader(forms: FormReader, scratch: memoryview) -> ReadSmall:
    """A function that reads what a form has packed. Raises BadValue."""
    unpack: Callable[[memoryview, int, int], Any] = forms.unpack_at

    def read(end: int) -> Any:
        result = unpack(scratch, HEADER_BYTES, end - HEADER_BYTES)
        return NOT_COMPILED if result is None else result

    return read


def _batch_reader(connection: Connection, layout: Layout, count: int) -> ReadSmall | None:
    """A function that reads a batch whose infos are all empty; None if a batch is too large for that."""
    scratch = connection._channel.decoder.scratch
    rewards_at, stamp_at = HEADER_BYTES, HEADER_BYTES + count * BYTES_BESIDE
    observations, ending_at = layout.reader(scratch, stamp_at + STAMP.size), stamp_at + STAMP.size + layout.head_bytes
    if observations is None:
        return None
    rewards = np.ndarray((count,), np.dtype("<f8"), scratch, rewards_at)
    flags = [np.ndarray((count,), np.uint8, scratch, rewards_at + at * count) for at in (8, 9)]
    (terminations, truncations), unpack = flags, struct.Struct(f"<{len(NO_INFOS)}s").unpack_from
    version, expected_end, no_infos = (layout.version,), ending_at + len(NO_INFOS), (NO_INFOS,)

    def read(end: int) -> Any:
        if end != expected_end or STAMP.unpack_from(scratch, stamp_at) != version:
            return NOT_COMPILED
        if unpack(scratch, ending_at) != no_infos:
            return NOT_COMPILED
        return observations(), rewards.astype(np.float64), terminations != 0, truncations != 0, {}

    return read
