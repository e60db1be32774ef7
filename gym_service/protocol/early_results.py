"""Calls to some envs of a batch, and the groups in which their results arrive: each as soon as it is ready.

Knows layouts and the order of a message's parts. Never knows a socket or an env. Python 3.6 and up; runs on both sides.

A STEP_SOME_PACKED call holds one or more parts. A part is the number of its envs, their indices among the server's
envs, and their actions in the layout of so many envs. The server carries a call out in the order of its envs, and
answers with groups: GROUP while more follow, LAST_GROUP at the end. A group says at which place of the call its results
begin, of how many envs they are, and their form: STEPPED or RESULT (as a batch of so many envs), or ERROR (the error
that one env has raised instead).
"""

import struct

from gym_service.protocol import messages, results
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.layout import STAMP
from gym_service.protocol.results import BatchInfos
from gym_service.protocol.values import BadValue

_INDEX = struct.Struct("<I")
GROUP_FORMAT = "BII"  # the form, the place in the call, the number of envs
_GROUP = struct.Struct("<" + GROUP_FORMAT)
GROUP_BYTES = _GROUP.size
_FORMS = (messages.STEPPED, messages.RESULT, messages.ERROR)


def begin_part(head, indices, layout):
    """Append to the head of a call the bytes that precede the packed actions of these envs."""
    head += struct.pack("<%dI" % (1 + len(indices)), len(indices), *indices)
    head += layout.stamp


def unpack_parts(layout_of, head, buffers):
    """A list of (indices, batched actions). ``layout_of(count)``: the layout of ``count`` actions, or None.

    Raises BadValue for malformed bytes, and BadFrame for another layout's.
    """
    parts, at, used = [], 0, 0
    while at < len(head):
        if len(head) - at < _INDEX.size:
            raise BadValue("%d bytes are not the number of envs" % (len(head) - at))
        count = _INDEX.unpack_from(head, at)[0]
        at += _INDEX.size
        if not 0 < count <= (len(head) - at) // _INDEX.size:
            raise BadValue("%d envs in %d bytes" % (count, len(head) - at))
        indices = struct.unpack_from("<%dI" % count, head, at)
        at += count * _INDEX.size
        layout = layout_of(count)
        if layout is None:
            raise BadValue("a packed action where actions have no layout")
        if head[at : at + STAMP.size] != layout.stamp:
            raise BadFrame("packed by another layout than version %d" % layout.version)
        at += STAMP.size
        parts.append((indices, layout.unpack(head, at, buffers[used:])))
        at += layout.head_bytes
        used += layout.buffer_count
    if used != len(buffers):
        raise BadValue("%d buffers where the actions have %d" % (len(buffers), used))
    return parts


def encode_group(layout, stacked, result, place, indices, first_index):
    """The Encoder, or the Packed, of a group that has results.

    ``result`` is as for ``results.encode_batch``, for the envs with these indices; ``stacked`` is their batched
    observation, or None. ``first_index`` is the index of the server's first env in the whole vector env.

    Raises CannotEncode.
    """
    if stacked is not None and not result[4].count:  # mostly
        packed = Packed()
        packed.head += _GROUP.pack(messages.STEPPED, place, len(indices))
        if results.pack_batch(packed, layout, stacked, result):
            return packed
    encoder = Encoder()
    encoder.head += _GROUP.pack(0, place, len(indices))
    env_ids = (first_index + index for index in indices)
    kind = results.fill_batch(encoder, layout, stacked, result, env_ids)
    encoder.head[0] = kind
    return encoder


def encode_error(error, place):
    """The Encoder of a group that has the error of one env; ``error`` has its five fields."""
    encoder = Encoder()
    encoder.head += _GROUP.pack(messages.ERROR, place, 1)
    encoder.extend(error)
    return encoder


def read_group(frame):
    """(form, place, count) of a group. Raises BadValue if it is malformed."""
    if len(frame.head) < GROUP_BYTES:
        raise BadValue("a group of %d bytes" % len(frame.head))
    form, place, count = _GROUP.unpack_from(frame.head)
    if form not in _FORMS or not count or (form == messages.ERROR and count != 1):
        raise BadValue("not a group: %r" % ((form, place, count),))
    return form, place, count


class InfosByEnv:
    """The infos of a call, as ``BatchInfos`` records them, but one by one, so that some of them can be encoded."""

    def __init__(self, first_index):
        self._first_index = first_index
        self._of = {}

    def add(self, index, info):
        """Record the info of an env."""
        self._at(index).add(index, info)

    def add_final(self, index, observation, info):
        """Record the end of an episode: its last observation and its last info."""
        self._at(index).add_final(index, observation, info)

    def of(self, indices):
        """The infos of these envs, in the form that ``results.fill_batch`` takes."""
        if not self._of:  # mostly
            return _NO_INFOS
        found = BatchInfos(self._first_index)
        for index in indices:
            if index in self._of:
                found.extend(self._of[index])
        return found

    def _at(self, index):
        if index not in self._of:
            self._of[index] = BatchInfos(self._first_index)
        return self._of[index]


_NO_INFOS = BatchInfos(0)
