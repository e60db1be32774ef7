"""The answers of compiled steps whose large arrays lie in shared memory.

Knows the packed form of results, and frames that only lend. Never knows an adapter. Python 3.6 and up.
"""

from gym_service.protocol import messages
from gym_service.protocol.frames import HEADER, MAGIC, VERSION
from gym_service.protocol.results import REWARD_AND_FLAGS, flags_of
from gym_service.transport.arena import LEAST_BYTES
from gym_service.transport.leased_frames import lend


def large_packing(server, channel, layout, forms):
    """The functions ``pack`` and ``begin`` of ``compile_call``, for observations with large arrays.

    An answer with an array that finds no slot is sent in the general way; without shared memory, and if arrays are too
    small for a slot, all are.
    """
    arena = channel.arena
    if arena is None or min(layout.buffer_bytes) < LEAST_BYTES:
        return _pack_nothing, channel.begin
    pack_beside, pack_observation, version = REWARD_AND_FLAGS.pack, layout.pack, layout.version
    pack_header, kind, begin_with = HEADER.pack, messages.STEPPED, channel.begin

    def pack(call_id, result):
        if type(result) is not tuple or len(result) != 5:
            return None
        observation, reward, terminated, truncated, info = result
        is_packed = False
        if type(info) is dict and not info:
            if type(reward) is float and terminated is False and truncated is False:  # most steps
                flags = 0
            else:
                flags = flags_of(reward, terminated, truncated)
            if flags is not None:
                head, buffers = bytearray(pack_beside(reward, flags, version)), []
                is_packed = pack_observation(observation, head, buffers)
        if not is_packed:
            by_form = forms.pack(result)
            if by_form is None or by_form.replaced or by_form.by_array_alone:
                return None
            server.checked((kind, by_form))
            head, buffers = by_form.head, by_form.buffers
        lent = lend(arena, buffers, call_id)
        if lent is None:
            return None
        descriptors, count, notes = lent
        header = pack_header(MAGIC, VERSION, kind, call_id, len(head), count)
        return b"".join((header, descriptors, head)), notes

    def begin(call_id, frame):
        piece, notes = frame
        return begin_with(call_id, piece, notes)

    return pack, begin


def _pack_nothing(call_id, result):
    return None
