"""Parts of calls and groups of results come back unchanged, and all other bytes are refused."""

import itertools
from typing import Any

import numpy as np
import pytest
from support.same import same

from gym_service.protocol import early_results, messages, results
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import BadFrame, Frame
from gym_service.protocol.layout import Layout, compile_layout
from gym_service.protocol.values import BadValue

SMALL = {"kind": "Box", "dtype": "<f4", "shape": (2,)}
LARGE = {"kind": "Box", "dtype": "|u1", "shape": (96, 96, 3)}
COUNT = 5  # the number of the server's envs


def layout_of(space: Any) -> Any:
    return lambda count: compile_layout(space, count)


def part(head: bytearray, buffers: list[Any], space: Any, indices: list[int]) -> Any:
    layout: Layout = compile_layout(space, len(indices))
    early_results.begin_part(head, indices, layout)
    value = np.full((len(indices), *space["shape"]), len(indices), space["dtype"])
    assert layout.pack(value, head, buffers)
    return indices, value


def as_received(buffers: list[Any]) -> list[Any]:
    return [np.frombuffer(buffer.tobytes(), np.uint8) for buffer in buffers]


@pytest.mark.parametrize("space", [SMALL, LARGE])
def test_parts_of_a_call_come_back(space: Any) -> None:
    head, buffers = bytearray(), []
    sent = [part(head, buffers, space, indices) for indices in ([3], [0, 4], [1])]
    found = early_results.unpack_parts(layout_of(space), head, as_received(buffers))
    assert same([(list(indices), actions) for indices, actions in found], sent)


@pytest.mark.parametrize("space", [SMALL, LARGE])
def test_cut_or_changed_parts_are_refused_or_other_parts(space: Any) -> None:
    head, buffers = bytearray(), []
    first = part(head, buffers, space, [3])
    end = len(head)
    part(head, buffers, space, [0, 4])
    for size in set(range(len(head))) - {0, end}:
        with pytest.raises((BadValue, BadFrame)):
            early_results.unpack_parts(layout_of(space), head[:size], as_received(buffers))
    if buffers:
        for some in ([], as_received(buffers)[:1], as_received(buffers) * 2):
            with pytest.raises(BadValue):
                early_results.unpack_parts(layout_of(space), head, some)
    cut = early_results.unpack_parts(layout_of(space), head[:end], as_received(buffers[: len(buffers) // 2]))
    assert same([(list(indices), actions) for indices, actions in cut], [first])
    with pytest.raises(BadValue, match="have no layout"):
        early_results.unpack_parts(lambda count: None, head, as_received(buffers))
    with pytest.raises(BadFrame, match="another layout"):
        early_results.unpack_parts(lambda count: compile_layout(space, count, 1), head, as_received(buffers))
    for count in (0, 2**31, 2**32 - 1):
        with pytest.raises(BadValue, match="envs in"):
            early_results.unpack_parts(layout_of(space), count.to_bytes(4, "little") + b"\0" * 64, [])


def group(place: int, indices: list[int], observations: list[Any] | None = None) -> tuple[Encoder, Any]:
    """A group and the expected result; with ``observations`` that fit no layout, or without."""
    infos = early_results.InfosByEnv(10)
    for index in range(COUNT):
        infos.add(index, {"index": index})
    infos.add_final(indices[0], np.zeros(2, np.float32), {"last": True})
    numbers = np.arange(len(indices)) / 2, np.arange(len(indices)) % 2 == 0, np.arange(len(indices)) % 3 == 0
    stacked = None if observations else np.ones((len(indices), 2), np.float32)
    result = (observations or list(np.ones((len(indices), 2), np.float32)), *numbers, infos.of(indices))
    layout = compile_layout(SMALL, len(indices))
    final = (indices[0], {"final_obs": np.zeros(2, np.float32), "final_info": {"last": True}})
    named = [[(index, {"index": index})] for index in indices]
    expected = [info for each in [[*named[0], final], *named[1:]] for info in each]
    encoder = early_results.encode_group(layout, stacked, result, place, indices, 10)
    return encoder, (observations or stacked, *numbers, expected)


@pytest.mark.parametrize("observations", [None, ["ab", {"c": 1}]])
def test_a_group_comes_back_and_nothing_else_does(observations: Any) -> None:
    encoder, expected = group(7, [4, 1], observations)

    def decoded(head: bytes) -> Any:
        frame = Frame(messages.GROUP, 1, memoryview(head), as_received(encoder.buffers))
        form, place, count = early_results.read_group(frame)
        layout = compile_layout(SMALL, count)
        start = early_results.GROUP_BYTES
        found = results.read_batch(layout, count, frame, None, form, frame.buffers, start, COUNT)
        return form, place, found

    form, place, found = decoded(bytes(encoder.head))
    assert form == (messages.RESULT if observations else messages.STEPPED)
    assert place == 7
    assert same(found, expected)
    for size in range(len(encoder.head)):
        with pytest.raises((BadValue, BadFrame)):
            decoded(bytes(encoder.head[:size]))
    with pytest.raises(BadValue, match="left over"):
        decoded(bytes(encoder.head) + b"N")
    for form, count in itertools.product((0, messages.PLACED, 255), (1, 2)):
        with pytest.raises(BadValue, match="not a group"):
            decoded(bytes([form]) + (7).to_bytes(4, "little") + count.to_bytes(4, "little"))


def test_infos_that_do_not_cross_are_those_of_one_env() -> None:
    infos = early_results.InfosByEnv(0)
    infos.add(1, {"fine": 1})
    infos.add(3, {"fine": 2})
    encoder = Encoder()
    infos.of([3]).write_to(encoder)
    other = Encoder().add(1).add(3).add({"fine": 2}, opaque=True)
    assert encoder.head == other.head
    assert Packed().size_bytes == 0
