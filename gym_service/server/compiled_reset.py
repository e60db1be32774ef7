"""The reset that ``compiled_call.py`` answers: of one env, without a seed, options or further arguments.

Most resets are of this kind. Their answers are small if the observation is a small array and the info is empty. Knows
the general form of both, which is what ``encode_reset`` gives. Never knows how bytes travel. Python 3.6 and up.
"""

from gym_service.protocol import messages, results
from gym_service.protocol.frames import HEADER, MAGIC, VERSION
from gym_service.protocol.plain_arrays import ArrayWriter


def reset_reader(scratch, head_at):
    """A function that reads a reset without arguments, whose head begins at ``head_at``; see ``compile_call``."""
    expected = results.RESET_WITHOUT_ARGUMENTS

    def read(head_bytes):
        return () if scratch[head_at : head_at + head_bytes] == expected else None

    return read


def reset_way(server):
    """The three functions ``act``, ``pack`` and ``encode`` of ``compile_call``, for a server of one env."""
    write, pack_header, empty_info = ArrayWriter().write, HEADER.pack, results.EMPTY_INFO
    facts = server.facts

    def act(argument):
        result = server.reset_env(None, None)
        return result, facts.changes(True)

    def pack(call_id, found):
        result, changes = found
        if changes or type(result) is not tuple or len(result) != 2:
            return None
        observation, info = result
        written = write(observation) if type(info) is dict and not info else None
        if written is None:
            return None
        facts.told()
        size_bytes = len(written) + len(empty_info)
        return pack_header(MAGIC, VERSION, messages.RESULT, call_id, size_bytes, 0) + written + empty_info

    def encode(found):
        result, changes = found
        answer = server.checked((messages.RESULT, results.encode_reset(result)))
        server.send_changes(changes)
        return answer

    return act, pack, encode
