"""Any value that may cross comes back unchanged: hypothesis over nested values and all dtypes."""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.crossing import crossed, encoded, feed, values_of
from support.same import same
from support.strategies import SCALARS, VALUES, arrays

from gym_service.protocol.frames import FrameDecoder, frame_bytes

BOUNDED = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@given(arrays())
@BOUNDED
def test_arrays_of_every_dtype(array: np.ndarray) -> None:
    arrived = crossed(array)
    assert same(arrived, array)
    assert arrived.flags.c_contiguous
    assert arrived.flags.writeable
    assert arrived.flags.aligned


@given(SCALARS)
@BOUNDED
def test_scalars_of_every_dtype(scalar: np.generic) -> None:
    assert same(crossed(scalar), scalar)


@given(VALUES)
@BOUNDED
def test_nested_values(value: Any) -> None:
    assert same(crossed(value), value)


@given(st.lists(VALUES, max_size=3), st.integers(0, 255), st.integers(0, 2**32 - 1), st.data())
@settings(BOUNDED, max_examples=50)
def test_messages_in_pieces(values: list[Any], kind: int, call_id: int, data: st.DataObject) -> None:
    encoder = encoded(*values)
    stream = b"".join(bytes(piece) for piece in frame_bytes(kind, call_id, encoder.head, encoder.buffers))
    cut = data.draw(st.integers(0, len(stream) - 1))
    decoder = FrameDecoder()
    assert feed(decoder, stream[:cut]) is None
    frame = feed(decoder, stream[cut:])
    assert frame is not None
    assert (frame.kind, frame.call_id) == (kind, call_id)
    assert same(values_of(frame.head, frame.buffers, len(values)), values)
    assert decoder.at_boundary
