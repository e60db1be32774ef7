"""Reads answers that are one small frame without intermediate objects: those with the results of several envs.

The envs are all or some of a worker's. Knows the packed form of a batch and of a group. Never knows a connection or a
call. Python 3.10 and up.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from gym_service.protocol import early_results, messages
from gym_service.protocol.frames import HEADER_BYTES, HEADER_NUMBERS, beginning_of
from gym_service.protocol.layout import STAMP, Layout
from gym_service.protocol.results import BYTES_BESIDE, NO_INFOS, STEPPED_BEGINNING

# Reads the results of the call with this id (the second argument) from the decoder's scratch buffer, in which the
# received bytes end at the first argument. Returns None for anything but one frame with all results.
ReadWhole = Callable[[int, int], Any]
# Reads a batch from the scratch buffer, in which it ends at this byte: (observations, rewards, terminations,
# truncations, infos), or None.
ReadBatch = Callable[[int], Any]

_LAST_GROUP_BEGINNING = beginning_of(messages.LAST_GROUP)
# The numbers of a header, and those of a group.
_HEADER_AND_GROUP = struct.Struct(HEADER_NUMBERS.format + early_results.GROUP_FORMAT)


def compile_reader(
    layout: Layout | None, count: int, is_batch: bool, scratch: memoryview, make: Callable[..., Any]
) -> ReadWhole:
    """A function that reads an answer with the results of ``count`` envs: a batch, or the only group of the answer.

    ``make`` takes the five parts of the results, and returns the value that the function returns.
    """
    header = HEADER_NUMBERS if is_batch else _HEADER_AND_GROUP
    beginning = STEPPED_BEGINNING if is_batch else _LAST_GROUP_BEGINNING
    group = () if is_batch else (messages.STEPPED, 0, count)
    read_batch = None if layout is None else batch_reader(scratch, header.size, layout, count, no_infos=list)
    if read_batch is None:
        return read_never
    unpack, header_bytes, read = header.unpack_from, header.size, read_batch

    def read_whole(end: int, call_id: int) -> Any:
        if end < header_bytes or unpack(scratch) != (beginning, call_id, end - HEADER_BYTES, 0, *group):
            return None
        found = read(end)
        return None if found is None else make(*found)

    return read_whole


def batch_reader(
    scratch: memoryview, start: int, layout: Layout, count: int, no_infos: Callable[[], Any]
) -> ReadBatch | None:
    """A function that reads a batch that begins at ``start`` and whose infos are all empty; None if it is too large.

    ``no_infos`` makes the infos that it returns.
    """
    stamp_at = start + count * BYTES_BESIDE
    observations, ending_at = layout.reader(scratch, stamp_at + STAMP.size), stamp_at + STAMP.size + layout.head_bytes
    if observations is None:
        return None
    rewards = np.ndarray((count,), np.dtype("<f8"), scratch, start)
    flags = [np.ndarray((count,), np.uint8, scratch, start + at * count) for at in (8, 9)]
    (terminations, truncations), unpack = flags, struct.Struct(f"<{len(NO_INFOS)}s").unpack_from
    version, expected_end, ending = (layout.version,), ending_at + len(NO_INFOS), (NO_INFOS,)

    def read(end: int) -> Any:
        if end != expected_end or STAMP.unpack_from(scratch, stamp_at) != version:
            return None
        if unpack(scratch, ending_at) != ending:
            return None
        # astype takes half the time of a comparison with 0.
        flags = terminations.astype(np.bool_), truncations.astype(np.bool_)
        return observations(), rewards.astype(np.float64), *flags, no_infos()

    return read


def read_never(end: int, call_id: int) -> None:
    """Reads no answer."""
