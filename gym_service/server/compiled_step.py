"""The step of one env as one function: reads a packed action, steps the env, and sends a packed result.

Knows the layouts and the adapter of a server, and the parts of ``Server.answer``, which it repeats in the same order
without their intermediate objects. Python 3.6 and up.

It answers only what is usual. Bytes that are anything but one packed action stay with the decoder, and
``Server.answer`` reads them. A result that fits no layout, has an info, or comes with warnings or notices of shared
memory is encoded and sent by ``Server`` too.
"""

import os
import struct

from gym_service.protocol import messages
from gym_service.protocol.frames import HEADER, HEADER_BYTES, MAGIC, VERSION
from gym_service.protocol.layout import STAMP
from gym_service.protocol.results import (
    BESIDE_BYTES,
    PACKED_STEP,
    REWARD_FLAGS,
    STEPPED_BEGINNING,
    TERMINATED,
    TERMINATED_FLAGS,
    TRUNCATED,
    TRUNCATED_FLAGS,
)

# A whole frame with a packed action, up to the action: the first four bytes of the header as one number, the rest of
# the header (call id, size of the head, number of buffers), and the version of the layout.
_PACKED_ACTION = struct.Struct("<IIIIH")
_ACTION_AT = HEADER_BYTES + STAMP.size
_ACTION_BEGINNING = struct.unpack("<I", HEADER.pack(MAGIC, VERSION, messages.STEP_PACKED, 0, 0, 0)[:4])[0]


def compile_step(server, channel, adapter, actions, layout, action_layout):
    """A function that answers one call if it is a step with a packed action; None if the layouts do not allow one.

    The function blocks until bytes arrive, and returns whether it has answered. Raises as ``Server.answer``.
    """
    if layout is None or action_layout is None or layout.buffer_count or action_layout.buffer_count:
        return None
    arena, warnings, read_some, send = channel.arena, server.warnings, channel.read_some, channel.send_piece
    scratch, unpack, getpid, process_id = channel.decoder.scratch, _PACKED_ACTION.unpack_from, os.getpid, os.getpid()
    begun, finished, stepped = server.counters.call_started, server.counters.call_finished, server.counters.step
    expected = _ACTION_BEGINNING, STAMP.size + action_layout.head_bytes, 0, action_layout.version
    expected_sizes = [_ACTION_AT + action_layout.head_bytes]
    read_action, pack_result = action_layout.reader(scratch, _ACTION_AT), _packer(layout)

    def step():
        sizes = read_some()
        if sizes != expected_sizes or server.needs_reset:
            return False
        beginning, call_id, size_bytes, buffers, version = unpack(scratch)
        if (beginning, size_bytes, buffers, version) != expected:
            return False
        del sizes[:]  # it is taken
        server.call_id, answer = call_id, None
        begun()
        try:
            result = adapter.step(actions.convert(read_action()))
            stepped(1)
            is_usual = not warnings.waiting and (arena is None or not arena.is_due(call_id))
            frame = pack_result(call_id, result) if is_usual else None
            if frame is None:
                answer = server.encode_step(result)
        except (SystemExit, KeyboardInterrupt):
            server.note_exit()
            raise
        except Exception as error:  # noqa: BLE001 - the same border as in Server.answer
            answer = server.error_answer(messages.STEP_PACKED, error)
        finished()
        if answer is not None:
            server.send_answer(*answer)
            return True
        if getpid() != process_id:
            server.leave_if_forked()
        send(call_id, frame)
        return True

    return step


def _packer(layout):
    """A function that packs a result as one whole frame; it returns None if the result does not fit or has an info."""
    pack, pack_observation, version = PACKED_STEP.pack, layout.pack, layout.version
    head_bytes = BESIDE_BYTES + layout.head_bytes

    def packed(call_id, result):
        if type(result) is not tuple or len(result) != 5:
            return None
        observation, reward, terminated, truncated, info = result
        if type(info) is not dict or info:
            return None
        try:
            flags = REWARD_FLAGS[type(reward)] | TERMINATED_FLAGS[type(terminated)] | TRUNCATED_FLAGS[type(truncated)]
        except KeyError:
            return None
        if terminated:
            flags |= TERMINATED
        if truncated:
            flags |= TRUNCATED
        head = bytearray(pack(STEPPED_BEGINNING, call_id, head_bytes, 0, reward, flags, version))
        return bytes(head) if pack_observation(observation, head, ()) else None

    return packed
