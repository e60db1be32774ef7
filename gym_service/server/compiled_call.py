"""A kind of call as one function: reads it, carries it out, and sends its answer if that is usual.

Knows the fields of a header and the parts of ``Server.answer``, which it repeats in the same order without their
intermediate objects. Never knows what a call does: ``compiled_step.py`` does. Python 3.6 and up.

It reads one whole call that is small; the call may return slots of shared memory. Any other bytes stay with the
decoder, and ``Server.answer`` reads them. A result that does not fit, or that comes with warnings or notices of shared
memory, is encoded and sent by ``Server`` too.
"""

import os
import struct

from gym_service.protocol.frames import HEADER_BYTES, HEADER_NUMBERS, BadFrame, beginning_of
from gym_service.protocol.values import BadValue
from gym_service.transport.leased_frames import LATEST_NOTICES


def compile_call(server, channel, readers, ways):
    """A function that answers one call. It blocks until bytes arrive, and returns whether it has answered.

    It raises as ``Server.answer``.

    ``readers``: by kind of call and number of descriptors, the function that reads the argument of ``act``; None if it
    cannot. It takes the size of the head, whose bytes are in the decoder's scratch buffer, after the header and the
    descriptors, until the next read.
    ``ways``: by kind of call, the functions ``act``, ``pack``, ``encode``, and ``begin`` if that is not the channel's.
    ``act`` carries out the call and returns a result.
    ``pack`` takes the call's id and the result, and returns what ``begin`` takes: for the channel's, the whole frame of
    the answer. It returns None if the result does not fit.
    ``encode`` takes the result, and returns the kind and the Encoder of the answer.
    ``begin`` takes the call's id and what ``pack`` has returned. It blocks and returns as ``Channel.begin`` does.
    """
    arena, warnings = channel.arena, server.warnings
    getpid, process_id = os.getpid, os.getpid()
    counts, begun_at, answered_at = server.counters.of_calls
    ways = {kind: way if len(way) == 4 else (*way, channel.begin) for kind, way in ways.items()}
    read_call = _call_reader(server, channel, readers, ways)
    quiet_id = -1  # the id of the call after a compiled one

    def answer():
        nonlocal quiet_id
        call = read_call()
        if call is None:
            return False
        kind, call_id, argument, (act, pack, encode, begin) = call
        server.call_id, general = call_id, None
        counts[begun_at] += 1
        try:
            result = act(argument)
            if getpid() != process_id:  # before shared memory is written
                server.leave_if_forked()
            is_quiet = (call_id == quiet_id and call_id & LATEST_NOTICES) or arena is None or not arena.is_due(call_id)
            is_usual = is_quiet and not warnings.waiting
            frame = pack(call_id, result) if is_usual else None
            if frame is None:
                general = encode(result)
        except (SystemExit, KeyboardInterrupt):
            server.note_exit()
            raise
        except Exception as error:  # noqa: BLE001 - the same border as in Server.answer
            server.leave_if_forked()
            general = server.error_answer(kind, error)
        counts[answered_at] += 1
        if general is not None:
            server.send_answer(*general)
            return True
        if not begin(call_id, frame):
            channel.flush()
        quiet_id = call_id + 1
        return True

    return answer


def _call_reader(server, channel, readers, ways):
    """A function that waits for a call, and returns its kind, its id, its argument and its way.

    It returns None for any other bytes.
    """
    read_some, scratch, unpack = channel.read_some, channel.decoder.scratch, HEADER_NUMBERS.unpack_from
    known = {(beginning_of(kind), count): (kind, read, ways[kind]) for (kind, count), read in readers.items()}
    arena, find = channel.arena, known.get

    def read_call():
        sizes = read_some()
        if sizes is None or len(sizes) != 1 or sizes[0] < HEADER_BYTES or server.needs_reset:
            return None
        found, call_id, head_bytes, count = unpack(scratch)
        readable = find((found, count))
        if readable is None or sizes[0] != HEADER_BYTES + 8 * count + head_bytes:
            return None
        kind, read, way = readable
        returned = () if not count else _returned(arena, scratch, count)
        if returned is None:
            return None
        try:
            argument = read(head_bytes)
        except (BadFrame, BadValue):
            return None  # the general way reads it again, and answers with the error
        if argument is None:
            return None
        del sizes[:]  # it is taken
        for slot in returned:
            slot.is_out = False
        return kind, call_id, argument, way

    return read_call


def _returned(arena, scratch, count):
    """The slots that the descriptors of a call return; None if the descriptors are anything else."""
    descriptors = struct.unpack_from("<%dQ" % count, scratch, HEADER_BYTES)
    return None if arena is None else arena.returned(descriptors)
