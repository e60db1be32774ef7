"""The usual frames of steps with large arrays: calls that only return slots of memory, and answers that only lend them.

Each function does what ``Arena``, ``Notes`` and ``FrameDecoder`` do for any frame, in the same order and without their
intermediate objects. For whatever is unusual it returns None, and has changed only free memory; they do that then.
Knows the state of an arena and of a decoder. Never knows what a frame means. Python 3.6 and up. ``lend`` and
``returns`` run on both sides, ``leased_frame`` only in the client.
"""

import struct

from gym_service.protocol.frames import HEADER_BYTES, HEADER_NUMBERS, LENT, Frame, Missing
from gym_service.transport.arena import LEAST_BYTES, SWEEP_CALLS
from gym_service.transport.slots import ANNOUNCED, NUMBER_SHIFT, RETIRED, RETURNED

# The most slots of a usual frame. A program that drops each observation at the next step returns those of one, and
# sometimes of two.
MOST_SLOTS = 4
# While one compiled call follows the other, only ids without these bits look for notices: one in sixteen. What a frame
# announces must be accepted or refused by the next one, and no compiled call or answer announces anything.
LATEST_NOTICES = 15
_TABLES = tuple(struct.Struct("<%dQ" % count) for count in range(MOST_SLOTS + 1))


class Lending:
    """As ``Notes``, for a frame that only lends slots."""

    __slots__ = ("_slots", "is_settled")

    def __init__(self, slots):
        self._slots = slots
        self.is_settled = False

    def settle(self):
        """Apply the changes: the frame is sent, or will be. Can be repeated after an interrupt."""
        for slot in self._slots:
            slot.is_out = True
        self.is_settled = True


class Returning:
    """As ``Notes``, for a frame that only returns slots."""

    __slots__ = ("_arena", "_dead", "is_settled")

    def __init__(self, arena, dead):
        self._arena = arena
        self._dead = dead
        self.is_settled = False

    def settle(self):
        """Apply the changes: the frame is sent, or will be. Can be repeated after an interrupt."""
        arena, dead = self._arena, self._dead
        for lease in dead:
            slot = arena._theirs.get(lease.number)
            if slot is not None:
                slot.is_out = False
        if arena._dead[: len(dead)] == dead:
            del arena._dead[: len(dead)]
        self.is_settled = True


def lend(arena, arrays, call_id):
    """(The descriptors of these arrays as bytes, how many, a Lending).

    The caller has made sure that the frame needs no notices. Blocks for a copy of each array. Returns None if there are
    too many arrays, or if one is small or finds no free slot.
    """
    count, slots, descriptors = len(arrays), [], []
    if count > MOST_SLOTS:
        return None
    for array in arrays:
        size_bytes = array.nbytes
        slot = arena._free_slot(size_bytes, slots, call_id) if size_bytes >= LEAST_BYTES else None
        if slot is None:
            return None
        slots.append(slot)
        descriptors.append(LENT | slot.number << NUMBER_SHIFT | size_bytes)
    for slot, array in zip(slots, arrays):
        slot.write(array)
        slot.used_in = call_id
    return _TABLES[count].pack(*descriptors), count, Lending(slots)


def returns(arena, call_id):
    """(The descriptors that return all dead leases as bytes, how many, a Returning).

    None if the frame must carry any other notice, if a fork has retired one of the slots, or during a fork.
    """
    dead = arena._dead[: MOST_SLOTS + 1]
    count, theirs = len(dead), arena._theirs
    if count > MOST_SLOTS or not call_id % SWEEP_CALLS or arena._refused or arena._given_up:
        return None
    if arena._told != len(arena._handover.sent) or arena.forks:
        return None
    descriptors = []
    for lease in dead:
        if lease.number not in theirs:
            return None
        descriptors.append(LENT | RETURNED | lease.number << NUMBER_SHIFT)
    return _TABLES[count].pack(*descriptors), count, Returning(arena, dead)


def leased_frame(decoder, beginning, kind, call_id, end):
    """The frame that fills the first ``end`` bytes of the decoder's scratch buffer, if slots hold all of its buffers.

    The bytes are those that ``Channel.read_some`` has read. The frame is the decoder's next one, until ``take``.
    ``beginning`` is that of its kind. Raises BadValue if a slot is not available. After an interrupt either nothing has
    changed, or ``FrameDecoder.next_frame`` does the rest.
    """
    scratch, arena = decoder.scratch, decoder.arena
    begun, answered_id, head_bytes, count = HEADER_NUMBERS.unpack_from(scratch)
    head_at = HEADER_BYTES + 8 * count
    if begun != beginning or answered_id != call_id or not 0 < count <= MOST_SLOTS or end != head_at + head_bytes:
        return None
    descriptors, buffers = _TABLES[count].unpack_from(scratch, HEADER_BYTES), []
    for descriptor in descriptors:
        if descriptor < LENT or descriptor & (ANNOUNCED | RETIRED):
            return None
    for descriptor in descriptors:
        buffers.append(arena.lease(descriptor))
    frame = Frame(kind, call_id, scratch[head_at:end], buffers)
    frame.missing = Missing(descriptors, (), 0)
    decoder.state = (scratch, end, end, [], frame)
    # From here on the decoder has the frame. Until nothing is missing, it would do the rest again.
    for buffer in buffers:
        lease = buffer.obj if type(buffer) is memoryview else buffer
        lease.slot.lend_to(lease, arena._dead.append)
    frame.missing = None
    return frame
