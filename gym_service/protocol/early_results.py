"""Calls of some envs of a batch, and the groups in which their results come: each as soon as it is ready.

Knows layouts and the order of a message's parts. Never knows a socket or an env. Python 3.6 and up; runs on both sides.

A STEP_SOME_PACKED call holds one or more parts. A part is the number of its envs, their indices among the envs of the
server, and their actions as the layout of so many envs packs them. The server carries a call out in the order of its
envs, and answers with groups: GROUP while more follow, LAST_GROUP at the end. A group says from which place of the call
on it has results, of how many envs, and in which form: STEPPED or RESULT (as a batch of so many envs), or ERROR (what
one env has raised in place of its result).
"""

import struct

from gym_service.protocol import messages, results
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.layout import STAMP
from gym_service.protocol.results import BatchInfos
from gym_service.protocol.values import BadValue

_INDEX = struct.Struct("<I")
_GROUP = struct.Struct("<BII")  # the form, the place in the call, the number of envs
GROUP_BYTES = _GROUP.size
_FORMS = (messages.STEPPED, messages.RESULT, messages.ERROR)


def begin_part(head, indices, layout):
    """Append to the head of a call what stands before the packed actions of these envs."""
    head += struct.pack("<%dI" % (1 + len(indices)), len(indices), *indices)
    head += layout.stamp


def unpack_parts(layout_of, head, buffers):
    """A list of (indices, batched actions). ``layout_of(count)``: the layout of so many actions, or None.

    Raises BadValue where the bytes are none, and BadFrame for another layout's.
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
    """The Encoder of a group that has results.

    ``result`` is as ``results.encode_batch`` takes it, of the envs with these indices; ``stacked`` is their batched
    observation, or None. ``first_index`` is that of the server's first env in the whole vector env.

    Raises CannotEncode.
    """
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
    """(form, place, count) of a group. Raises BadValue where it is none."""
    if len(frame.head) < GROUP_BYTES:
        raise BadValue("a group of %d bytes" % len(frame.head))
    form, place, count = _GROUP.unpack_from(frame.head)
    if form not in _FORMS or not count or (form == messages.ERROR and count != 1):
        raise BadValue("not a group: %r" % ((form, place, count),))
    return form, place, count


class InfosByEnv:
    """The infos of a call as ``BatchInfos`` has them, but kept apart: so those of some of its envs can be encoded."""

    def __init__(self, first_index):
        self._first_index = first_index
        self._of = {}

    def add(self, index, info):
        """Note the info of an env."""
        self._at(index).add(index, info)

    def add_final(self, index, observation, info):
        """Note the end of an episode: its last observation and its last info."""
        self._at(index).add_final(index, observation, info)

    def of(self, indices):
        """Those of these envs, as ``results.fill_batch`` takes them."""
        found = BatchInfos(self._first_index)
        for index in indices:
            if index in self._of:
                found.extend(self._of[index])
        return found

    def _at(self, index):
        if index not in self._of:
            self._of[index] = BatchInfos(self._first_index)
        return self._of[index]
