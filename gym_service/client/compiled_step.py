"""The steps that ``compiled_call.py`` makes.

They are those of one env, of a vector env with one worker, of a vectorized simulator, and of several agents. Knows
layouts and the packed form of results. Never knows how bytes travel. Never keeps an env alive. Python 3.10 and up.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from gymnasium.spaces import GraphInstance

from gym_service.client.answers import step_result
from gym_service.client.compiled_call import NOT_COMPILED, CompiledCall, Leave, ReadSmall, compile_call
from gym_service.client.connection import Connection
from gym_service.client.observer import CallObserver
from gym_service.client.small_answers import batch_reader
from gym_service.protocol import messages
from gym_service.protocol.agent_results import AgentLayouts
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.frames import HEADER_BYTES, Frame
from gym_service.protocol.layout import Layout
from gym_service.protocol.plain_arrays import ArrayWriter
from gym_service.protocol.result_forms import FormReader
from gym_service.protocol.results import (
    BESIDE_BYTES,
    BY_FORM,
    FLAG_VALUES,
    HAS_INFO,
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
    is_large = layout.buffer_count > 0
    read = _large_reader(layout, forms) if is_large else partial(step_result, layout, forms)
    given = limit_s, _result_reader(connection, layout, forms), read
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
    read_small = batch_reader(connection._channel.decoder.scratch, HEADER_BYTES, layout, count, no_infos=dict)
    if read_small is None:
        return never
    kind = messages.VEC_STEP_PACKED
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
        return unpack(end - HEADER_BYTES)

    call = compile_call(connection, messages.AGENT_STEP_PACKED, limit_s, read_small, read, changes=changes)

    def step(actions: Any) -> Any:
        head = pack(actions)
        return NOT_COMPILED if head is None else call(head, actions)

    return step


def _packing(layout: Layout, call: CompiledCall) -> CompiledStep:
    """A function that packs an action with a layout, and makes the call if it fits."""
    pack: Callable[[Any], bytes | None] = layout.packer(layout.stamp)

    def step(action: Any) -> Any:
        head = pack(action)
        return NOT_COMPILED if head is None else call(head, action)

    return step


def _packing_or_writing(layout: Layout | None, packed: CompiledCall, general: CompiledCall) -> CompiledStep:
    """The same; an array that does not fit, as one of another dtype, goes in the general form."""
    write: Callable[[Any], bytes | None] = ArrayWriter().write
    pack: Callable[[Any], bytes | None] = (layout and layout.packer(layout.stamp)) or _pack_nothing

    def step(action: Any) -> Any:
        head = pack(action)
        if head is not None:
            return packed(head, action)
        written = write(action)
        return NOT_COMPILED if written is None else general(written, action)

    return step


def _pack_nothing(action: Any) -> None:
    """Packs no action."""


def _result_reader(connection: Connection, layout: Layout, forms: FormReader) -> ReadSmall:
    """A function that reads a step's result. Raises as ``results.unpack_step``."""
    scratch, unpack, version = connection._channel.decoder.scratch, REWARD_AND_FLAGS.unpack_from, layout.version
    observation, info_at = layout.reader(scratch, HEADER_BYTES + BESIDE_BYTES), BESIDE_BYTES + layout.head_bytes
    if observation is None:
        return lambda end: None  # it is read from a frame
    least_bytes, by_form = HEADER_BYTES + info_at, _form_reader(forms, scratch)

    def read(end: int) -> Any:
        reward, flags, packed_by = unpack(scratch, HEADER_BYTES)
        if end == least_bytes and not flags and packed_by == version:  # most steps
            return observation(), reward, False, False, {}
        if end < HEADER_BYTES + BESIDE_BYTES:
            return None
        if flags == BY_FORM:
            return by_form(end)
        if packed_by != version or end < least_bytes:
            return None
        if flags >= len(FLAG_VALUES) or (flags & HAS_INFO == 0) != (end == least_bytes):
            return None
        terminated, truncated, reward_type = FLAG_VALUES[flags]
        info: Any = {}
        if flags & HAS_INFO:
            rest = ValueDecoder(scratch[HEADER_BYTES:end], (), GraphInstance, info_at, connection.arrays)
            info = rest.read()
            rest.expect_end()
        return observation(), reward_type(reward), terminated, truncated, info

    return read


def _large_reader(layout: Layout, forms: FormReader) -> Callable[[Frame], Any]:
    """As ``step_result``, for an observation with large arrays: a usual result is read with few checks."""
    unpack, version = REWARD_AND_FLAGS.unpack_from, layout.version
    head_bytes, buffer_count = BESIDE_BYTES + layout.head_bytes, layout.buffer_count

    def read(frame: Frame) -> Any:
        head, buffers = frame.head, frame.buffers
        if frame.kind == messages.STEPPED and len(head) == head_bytes and len(buffers) == buffer_count:
            reward, flags, packed_by = unpack(head)
            if not flags and packed_by == version:
                return layout.unpack_unchecked(head, BESIDE_BYTES, buffers), reward, False, False, {}
        return step_result(layout, forms, frame)

    return read


def _form_reader(forms: FormReader, scratch: memoryview) -> ReadSmall:
    """A function that reads what a form has packed. Raises BadValue."""
    unpack: Callable[[memoryview, int, int], Any] = forms.unpack_at

    def read(end: int) -> Any:
        result = unpack(scratch, HEADER_BYTES, end - HEADER_BYTES)
        return None if result is None else result

    return read
