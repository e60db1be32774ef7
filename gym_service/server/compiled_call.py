"""One kind of call as one function: reads it, carries it out, and sends its answer, if both are small.

Knows the fields of a header and the parts of ``Server.answer``, which it repeats in the same order without their
intermediate objects. Never knows what a call does: ``compiled_step.py`` does. Python 3.6 and up.

It answers only what is usual. Bytes that are anything but one whole call of this kind stay with the decoder, and
``Server.answer`` reads them. A result that does not fit, or that comes with warnings or notices of shared memory, is
encoded and sent by ``Server`` too.
"""

import os

from gym_service.protocol.frames import HEADER_BYTES, HEADER_NUMBERS, beginning_of


def compile_call(server, channel, kind, act, pack, encode):
    """A function that answers one call of this kind. It blocks until bytes arrive, and returns whether it has answered.

    It raises as ``Server.answer``.

    ``act`` carries out the call and returns a result; it takes the size of the head, whose bytes are in the decoder's
    scratch buffer, after the header, until the next read.
    ``pack`` takes the call's id and the result, and returns the whole frame of the answer; None if it does not fit.
    ``encode`` takes the result, and returns the kind and the Encoder of the answer.
    """
    arena, warnings, read_some, send = channel.arena, server.warnings, channel.read_some, channel.send_piece
    scratch, unpack, getpid, process_id = channel.decoder.scratch, HEADER_NUMBERS.unpack_from, os.getpid, os.getpid()
    begun, finished, beginning = server.counters.call_started, server.counters.call_finished, beginning_of(kind)
    quiet_id = -1  # the id of a call whose answer has no notices of shared memory to send

    def answer():
        nonlocal quiet_id
        sizes = read_some()
        if sizes is None or len(sizes) != 1 or sizes[0] < HEADER_BYTES or server.needs_reset:
            return False
        found, call_id, head_bytes, buffers = unpack(scratch)
        if found != beginning or buffers or sizes[0] != HEADER_BYTES + head_bytes:
            return False
        del sizes[:]  # it is taken
        server.call_id, general = call_id, None
        begun()
        try:
            result = act(head_bytes)
            is_usual = not warnings.waiting and (call_id == quiet_id or arena is None or not arena.is_due(call_id))
            frame = pack(call_id, result) if is_usual else None
            if frame is None:
                general = encode(result)
        except (SystemExit, KeyboardInterrupt):
            server.note_exit()
            raise
        except Exception as error:  # noqa: BLE001 - the same border as in Server.answer
            general = server.error_answer(kind, error)
        finished()
        if general is not None:
            server.send_answer(*general)
            return True
        if getpid() != process_id:
            server.leave_if_forked()
        send(call_id, frame)
        if arena is not None:  # looked up for the next answer now, while the client works
            quiet_id = -1 if arena.is_due(call_id + 1) else call_id + 1
        return True

    return answer
