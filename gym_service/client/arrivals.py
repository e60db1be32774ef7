"""Reads what a frame of an answer says about the envs of a call: their results, or one error.

Knows the frames that can answer a call to some envs. Never knows a connection, or which env is in flight. Python 3.10
and up.
"""

from gymnasium.spaces import GraphInstance

from gym_service.client import error_mapping
from gym_service.client.batch_layouts import BatchLayouts
from gym_service.client.connection import fields
from gym_service.client.partial_calls import Arrival, PartialCall, arrived
from gym_service.protocol import early_results, messages
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.frames import Frame
from gym_service.protocol.values import BadValue


def read_arrival(call: PartialCall, start: int, frame: Frame, layouts: BatchLayouts) -> Arrival | None:
    """The content of a frame that answers a call of which ``start`` places are answered already.

    None if the frame was read before. Raises BadValue for a frame that does not answer the call.
    """
    if frame.kind == messages.ERROR:  # the error of the call itself
        error = error_mapping.remote_error(*fields(frame, 5))
        return arrived(call, start, len(call.env_ids) - start, None, error)
    if (call.read is None) != (frame.kind in (messages.GROUP, messages.LAST_GROUP)):
        raise BadValue(f"an answer of kind {frame.kind} came, which is none to the call")
    if call.read is not None:
        return Arrival(call, call.env_ids, call.parts, call.read(frame))
    return _read_group(call, start, frame, layouts)


def _read_group(call: PartialCall, start: int, frame: Frame, layouts: BatchLayouts) -> Arrival | None:
    form, place, count = early_results.read_group(frame)
    end, total = place + count, len(call.env_ids)
    if end <= start:
        return None
    if place != start or end > total or (end == total) != (frame.kind == messages.LAST_GROUP):
        raise BadValue(f"results of {count} envs came from place {place} on, of {total} from {start} on")
    if form == messages.ERROR:
        values = ValueDecoder(frame.head, frame.buffers, GraphInstance, early_results.GROUP_BYTES)
        described = [values.read() for _ in range(5)]
        values.expect_end()
        return arrived(call, place, 1, None, error_mapping.remote_error(*described))
    return arrived(call, place, count, layouts.read_group(call.worker, count, form, frame))
