"""The results of steps and batches in packed form: reward, flags and the bytes of a layout.

Knows layouts and the order of a result's parts. Never knows a socket or an env. Python 3.6 and up; runs on both sides.

A packed result holds what fits a layout. The info, if it is not empty, follows in the general form. The result names
the version of its layout: with another version the same bytes would mean other values.
"""

import struct

import numpy as np

from gym_service.protocol import messages
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import BadFrame, beginning_of
from gym_service.protocol.layout import STAMP
from gym_service.protocol.values import BadValue

REWARD_AND_FLAGS = struct.Struct("<dBH")  # also the version of the layout
BESIDE_BYTES = REWARD_AND_FLAGS.size
_TERMINATED, _TRUNCATED, _NUMPY_TERMINATED, _NUMPY_TRUNCATED, _NUMPY_REWARD, HAS_INFO = (1 << bit for bit in range(6))
# Instead of flags: all five values are packed by a form (``result_forms.py``), and the version is the form's.
BY_FORM = 64
BEFORE_FORM = REWARD_AND_FLAGS.pack(0.0, BY_FORM, 0)[: -STAMP.size]
_TERMINATED_FLAGS = {bool: 0, np.bool_: _NUMPY_TERMINATED}
_TRUNCATED_FLAGS = {bool: 0, np.bool_: _NUMPY_TRUNCATED}
_REWARD_FLAGS = {float: 0, np.float64: _NUMPY_REWARD}


def _values_of(flags):
    """(terminated, truncated, the type of the reward) for the flags of a packed result."""
    terminated, truncated = flags & _TERMINATED != 0, flags & _TRUNCATED != 0
    terminated = np.bool_(terminated) if flags & _NUMPY_TERMINATED else terminated
    truncated = np.bool_(truncated) if flags & _NUMPY_TRUNCATED else truncated
    return terminated, truncated, np.float64 if flags & _NUMPY_REWARD else float


FLAG_VALUES = tuple(_values_of(flags) for flags in range(2 * HAS_INFO))

# A whole frame with a packed result up to the observation: HEADER_NUMBERS, and what stands beside the observation.
PACKED_STEP = struct.Struct("<IIIIdBH")
STEPPED_BEGINNING = beginning_of(messages.STEPPED)

# The call of a reset without a seed and options, and the end of a reset's result without an info.
RESET_WITHOUT_ARGUMENTS = bytes(Encoder().add(None).add(None).head)
EMPTY_INFO = bytes(Encoder().add({}).head)

# The end of a batch whose infos are all empty.
NO_INFOS = bytes(Encoder().add(0).head)


def unpack_action(layout, head, buffers):
    """The action of a STEP_PACKED call. Raises BadValue for malformed bytes, BadFrame for another layout's."""
    if layout is None:
        raise BadValue("a packed action where actions have no layout")
    if head[: STAMP.size] != layout.stamp:
        raise _other_version(head, 0, layout)
    if (len(head), len(buffers)) != (STAMP.size + layout.head_bytes, layout.buffer_count):
        raise BadValue("%d bytes and %d buffers are not one action" % (len(head), len(buffers)))
    return layout.unpack(head, STAMP.size, buffers)


def _other_version(head, at, layout):
    """The exception for a message that was packed with another version of the layout."""
    if len(head) < at + STAMP.size:
        return BadValue("%d bytes are too few for a packed message" % len(head))
    named = STAMP.unpack_from(head, at)[0]
    return BadFrame("packed by version %d of a layout, and this is version %d" % (named, layout.version))


def is_by_form(head):
    """Whether a packed step's result is packed by a form."""
    return len(head) >= BESIDE_BYTES and head[BESIDE_BYTES - STAMP.size - 1] == BY_FORM


def encode_reset(result):
    """The result of a reset: the two values of a pair, else the one value."""
    if type(result) is not tuple or len(result) != 2:
        return Encoder().add(result, "$.result")
    return Encoder().add(result[0], "$.observation").add(result[1], "$.info", opaque=True)


def encode_step(result):
    """A step's five values as an Encoder in the general form, for values that fit no layout."""
    encoder = Encoder()
    for name, value in zip(("observation", "reward", "terminated", "truncated"), result):
        encoder.add(value, "$." + name)
    return encoder.add(result[4], "$.info", opaque=True)


def flags_of(reward, terminated, truncated):
    """The flags of a packed result without an info; None if a type does not fit."""
    try:
        flags = _REWARD_FLAGS[type(reward)] | _TERMINATED_FLAGS[type(terminated)] | _TRUNCATED_FLAGS[type(truncated)]
    except KeyError:
        return None
    return flags | (_TERMINATED if terminated else 0) | (_TRUNCATED if truncated else 0)


def pack_step(layout, result):
    """A step's result as an Encoder that holds a STEPPED reply, or None if it does not fit the layout exactly.

    The info is not part of a layout: if it is not empty, it follows in the general form.
    """
    observation, reward, terminated, truncated, info = result
    flags = flags_of(reward, terminated, truncated)
    if flags is None:
        return None
    if type(info) is dict and not info:
        encoder = Packed()
    else:
        encoder = Encoder()
        flags |= HAS_INFO
    encoder.head += REWARD_AND_FLAGS.pack(reward, flags, layout.version)
    if not layout.pack(observation, encoder.head, encoder.buffers):
        return None
    if flags & HAS_INFO:
        encoder.add(info, "$.info", opaque=True)
    return encoder


def unpack_step(layout, head, buffers, graph, arrays=None):
    """The result that ``pack_step`` packed. Raises BadValue for malformed bytes, BadFrame for another layout's."""
    if len(head) < BESIDE_BYTES:
        raise BadValue("a step's result of %d bytes" % len(head))
    reward, flags, version = REWARD_AND_FLAGS.unpack_from(head)
    if version != layout.version:
        raise _other_version(head, BESIDE_BYTES - STAMP.size, layout)
    observation = layout.unpack(head, BESIDE_BYTES, buffers)
    end = BESIDE_BYTES + layout.head_bytes
    if not flags & HAS_INFO and (len(head) != end or len(buffers) != layout.buffer_count):
        raise BadValue("%d bytes and %d buffers are not one step's result" % (len(head), len(buffers)))
    if not flags:  # most steps
        return observation, reward, False, False, {}
    if flags >= len(FLAG_VALUES):
        raise BadValue("flags %d of a step's result" % flags)
    terminated, truncated, reward_type = FLAG_VALUES[flags]
    if not flags & HAS_INFO:
        return observation, reward_type(reward), terminated, truncated, {}
    rest = ValueDecoder(head, buffers[layout.buffer_count :], graph, end, arrays)
    info = rest.read()
    rest.expect_end()
    return observation, reward_type(reward), terminated, truncated, info


# For each env in a batch: its reward and its two flags.
BYTES_BESIDE = 8 + 1 + 1
_FLOAT64, _UINT8 = np.dtype("<f8"), np.dtype("u1")


def encode_batch(layout, stacked, result, first_index, is_placed=False):
    """The kind and the Encoder of a batch's answer: STEPPED with ``stacked``, the batched observation.

    PLACED if its large leaves are in the offered memory already.

    ``result`` is observations (a list), rewards, terminations, truncations (arrays) and a BatchInfos. ``first_index``
    is the index of the server's first env in the whole vector env; paths in errors count from there.
    """
    encoder = Encoder()
    env_ids = range(first_index, first_index + len(result[0]))
    kind = fill_batch(encoder, layout, stacked, result, env_ids)
    if kind == messages.STEPPED and is_placed:
        del encoder.buffers[: layout.buffer_count]
        return messages.PLACED, encoder
    return kind, encoder


def pack_batch(packed, layout, stacked, result):
    """As ``fill_batch``, for a batch without infos whose ``stacked`` may fit the layout. Returns whether it fitted.

    If not, ``packed`` holds incomplete data.
    """
    _, rewards, terminations, truncations, _ = result
    head = packed.head
    head += rewards.tobytes() + terminations.tobytes() + truncations.tobytes() + layout.stamp
    if not layout.pack(stacked, head, packed.buffers):
        return False
    head += NO_INFOS
    return True


def fill_batch(encoder, layout, stacked, result, env_ids):
    """Append a batch to an Encoder, as ``encode_batch`` does; STEPPED or RESULT. Paths in errors use ``env_ids``."""
    observations, rewards, terminations, truncations, infos = result
    encoder.head += rewards.tobytes() + terminations.tobytes() + truncations.tobytes()
    if stacked is not None:
        encoder.head += layout.stamp
    is_packed = stacked is not None and layout.pack(stacked, encoder.head, encoder.buffers)
    if not is_packed:
        for env_id, observation in zip(env_ids, observations):
            encoder.add(observation, "$.observations[%d]" % env_id)
    infos.write_to(encoder)
    return messages.STEPPED if is_packed else messages.RESULT


def decode_batch(layout, count, frame, graph, placed=()):
    """The batch that ``encode_batch`` encoded; in a packed answer the batched observation replaces the list.

    ``placed`` is this server's part of the offered memory. Raises BadValue for malformed bytes, and BadFrame for
    another layout's.
    """
    if frame.kind == messages.PLACED:
        return read_batch(layout, count, frame, graph, messages.STEPPED, [*placed, *frame.buffers], 0, count)
    return read_batch(layout, count, frame, graph, frame.kind, frame.buffers, 0, count)


def read_batch(layout, count, frame, graph, kind, buffers, start, infos_of):
    """What ``fill_batch`` appended, from the byte ``start`` of a frame's head on; ``kind`` is what it returned.

    ``infos_of``: the number of the server's envs that may have infos. Raises as ``decode_batch``.
    """
    head = frame.head
    at = start + count * BYTES_BESIDE
    if len(head) < at:
        raise BadValue("a batch's result of %d bytes" % (len(head) - start))
    rewards = np.ndarray((count,), _FLOAT64, head, start).astype(np.float64)
    terminations = np.ndarray((count,), _UINT8, head, start + 8 * count) != 0
    truncations = np.ndarray((count,), _UINT8, head, start + 9 * count) != 0
    if kind == messages.STEPPED:
        if layout is None:
            raise BadValue("a packed observation where observations have no layout")
        if head[at : at + STAMP.size] != layout.stamp:
            raise _other_version(head, at, layout)
        at += STAMP.size
        observations = layout.unpack(head, at, buffers)
        rest = ValueDecoder(head, buffers[layout.buffer_count :], graph, at + layout.head_bytes, frame.arrays)
    else:
        rest = ValueDecoder(head, buffers, graph, at, frame.arrays)
        observations = [rest.read() for _ in range(count)]
    infos = _read_infos(rest, infos_of)
    return observations, rewards, terminations, truncations, infos


class BatchInfos:
    """The infos of one call to a batch. Each is encoded at once, since an env may change its dict afterwards.

    The last observation of an episode is kept as an object, and crosses as it is when the batch is answered, as in
    SyncVectorEnv.
    """

    def __init__(self, first_index):
        self.count = 0
        self._first_index = first_index
        self._encoder = Encoder(copies=True)
        self._final_observations = []

    def add(self, index, info):
        """Record the info of an env."""
        self.count += 1
        path = "$.infos[%d]" % (self._first_index + index)
        self._encoder.add(index).add(info, path, opaque=True)

    def add_final(self, index, observation, info):
        """Record the end of an episode: its last observation and its last info."""
        self.count += 1
        path = "$.infos[%d]" % (self._first_index + index)
        self._encoder.add(~index).add(info, path + "['final_info']", opaque=True)
        self._final_observations.append((path + "['final_obs']", observation))

    def extend(self, other):
        """Add the infos that another BatchInfos has recorded."""
        self.count += other.count
        self._encoder.extend(other._encoder)
        self._final_observations += other._final_observations

    def write_to(self, encoder):
        """Append to an answer: the number of infos; each with its index, ~index if final; the final observations."""
        encoder.add(self.count)
        if self.count:
            encoder.extend(self._encoder)
            for path, observation in self._final_observations:
                encoder.add(observation, path, opaque=True)


def _read_infos(rest, count):
    """A list of (index, info), with the infos of ended episodes in SyncVectorEnv's form."""
    infos, finals, length = [], [], rest.read()
    if type(length) is not int or not 0 <= length <= 2 * count:
        raise BadValue("not a number of infos: %r" % (length,))
    for _ in range(length):
        index, info = rest.read(), rest.read()
        if type(index) is not int or not -count <= index < count:
            raise BadValue("an info of sub-environment %r" % (index,))
        if index < 0:
            index = ~index
            info = {"final_obs": None, "final_info": info}
            finals.append(info)
        infos.append((index, info))
    for final in finals:
        final["final_obs"] = rest.read()
    rest.expect_end()
    return infos
