"""The answers of compiled steps whose large arrays lie in shared memory.

Knows the packed form of results, and frames that only lend. Never knows an adapter. Python 3.6 and up.
"""

from gym_service.protocol import messages
from gym_service.protocol.frames import HEADER, MAGIC, VERSION
from gym_service.protocol.results import REWARD_AND_FLAGS, flags_of
from gym_service.transport.arena import LEAST_BYTES
from gym_service.transport.leased_frames import LATEST_NOTICES, MOST_SLOTS, lend


def large_packing(server, channel, layout, forms):
    """The functions ``pack`` and ``begin`` of ``compile_call``, for observations with large arrays.

    An answer with an array that finds no slot is sent in the general way, and so are some after it. All are if there is
    no shared memory, if any array is too small for a slot, or if there are too many.
    """
    arena, sizes = channel.arena, layout.buffer_bytes
    if arena is None or min(sizes) < LEAST_BYTES or len(sizes) > MOST_SLOTS:
        return _pack_nothing, channel.begin
    packed, pack_header, kind, begin_with = _packer(server, layout, forms), HEADER.pack, messages.STEPPED, channel.begin
    has_failed = False

    def pack(call_id, result):
        nonlocal has_failed
        if has_failed and call_id & LATEST_NOTICES:
            return None  # a user who keeps all observations would have each of them packed twice
        head, buffers = packed(result)
        if head is None:
            return None
        lent = lend(arena, buffers, call_id)
        has_failed = lent is None
        if lent is None:
            return None
        descriptors, count, notes = lent
        return b"".join((pack_header(MAGIC, VERSION, kind, call_id, len(head), count), descriptors, head)), notes

    def begin(call_id, packed_frame):
        piece, notes = packed_frame
        return begin_with(call_id, piece, notes)

    return pack, begin


def _packer(server, layout, forms):
    """A function that packs a step's result: its head and its arrays; two None if it fits neither layout nor form.

    It raises CannotEncode for a result that is too large.
    """
    pack_beside, pack_observation, version = REWARD_AND_FLAGS.pack, layout.pack, layout.version

    def packed(result):
        if type(result) is not tuple or len(result) != 5:
            return None, None
        observation, reward, terminated, truncated, info = result
        if type(info) is dict and not info:
            if type(reward) is float and terminated is False and truncated is False:  # most steps
                flags = 0
            else:
                flags = flags_of(reward, terminated, truncated)
            if flags is not None:
                head, buffers = bytearray(pack_beside(reward, flags, version)), []
                if pack_observation(observation, head, buffers):
                    return head, buffers
        by_form = forms.pack(result)
        if by_form is None or by_form.replaced or by_form.by_array_alone:
            return None, None
        server.checked((messages.STEPPED, by_form))
        return by_form.head, by_form.buffers

    return packed


def _pack_nothing(call_id, result):
    return None
