"""Steps as messages: every combination of types comes back unchanged, packed or in the general form."""

import itertools
import threading
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, GraphInstance
from support.crossing import crossed, received
from support.same import same

from gym_service.client.connection import fields
from gym_service.protocol import messages, results
from gym_service.protocol.frames import BadFrame, Frame
from gym_service.protocol.layout import Layout, compile_layout
from gym_service.protocol.space_spec import describe
from gym_service.protocol.values import BadValue, CannotEncode, Opaque

SPACE = Dict({"image": Box(0, 255, (128, 96), np.uint8), "state": Box(-1, 1, (4,), np.float32), "t": Discrete(9)})
OBSERVATION = {"image": np.eye(128, 96, dtype=np.uint8), "state": np.arange(4, dtype=np.float32), "t": 3}
PACKED_REWARDS = [0.0, -0.0, float("nan"), float("-inf"), np.float64(1.5), np.float64("nan")]
OTHER_REWARDS = [1, True, np.float32(0.5), np.int64(2), np.array(1.0), None, 1 + 2j]
FLAGS = [False, True, np.bool_(False), np.bool_(True)]
INFOS: list[Any] = [
    {},
    {"a": 1},
    {"frame": np.zeros((64, 64, 3)), "nested": {"x": (np.float32(1), None)}},
    {1: {2: []}},
    None,
    [],
    "",
    np.zeros(2),
]


@pytest.fixture(scope="module")
def layout() -> Layout:
    found = compile_layout(crossed(describe(SPACE, "$")))
    assert found is not None
    return found


def unpacked(layout: Layout, encoder: Any, extra: bytes = b"") -> Any:
    head = memoryview(bytes(encoder.head) + extra)
    return results.unpack_step(layout, head, received(encoder.buffers), GraphInstance)


@pytest.mark.parametrize("info", INFOS, ids=repr)
@pytest.mark.parametrize("reward", PACKED_REWARDS, ids=repr)
def test_what_fits_comes_back_exactly(layout: Layout, reward: Any, info: Any) -> None:
    for terminated, truncated in itertools.product(FLAGS, FLAGS):
        result = (OBSERVATION, reward, terminated, truncated, info)
        encoder = results.pack_step(layout, result)
        assert encoder is not None
        assert same(unpacked(layout, encoder), result)


@pytest.mark.parametrize("reward", OTHER_REWARDS, ids=repr)
def test_another_type_of_reward_takes_the_general_form(layout: Layout, reward: Any) -> None:
    result = (OBSERVATION, reward, False, False, {})
    assert results.pack_step(layout, result) is None
    assert same(in_general_form(result), list(result))


@pytest.mark.parametrize("flags", [(0, False), (False, 1), (None, False), (False, np.array(True)), (np.int8(1), True)])
def test_flags_that_are_no_bools_take_the_general_form(layout: Layout, flags: tuple[Any, Any]) -> None:
    result = (OBSERVATION, 1.0, *flags, {"a": 1})
    assert results.pack_step(layout, result) is None
    assert same(in_general_form(result), list(result))


def test_an_observation_outside_its_space_takes_the_general_form(layout: Layout) -> None:
    result = ({**OBSERVATION, "t": "late"}, 1.0, False, False, {})
    assert results.pack_step(layout, result) is None
    assert same(in_general_form(result), list(result))


def in_general_form(result: Any) -> list[Any]:
    encoder = results.encode_step(result)
    return fields(Frame(messages.RESULT, 1, encoder.head, received(encoder.buffers)), 5)


@pytest.mark.parametrize("info", [OrderedDict(), OrderedDict(a=1), defaultdict(int)], ids=repr)
def test_an_info_of_a_subclass_is_a_dict(layout: Layout, info: Any) -> None:
    encoder = results.pack_step(layout, (OBSERVATION, 1.0, False, False, info))
    assert same(unpacked(layout, encoder)[4], dict(info))


def test_an_empty_info_takes_no_bytes(layout: Layout) -> None:
    encoder = results.pack_step(layout, (OBSERVATION, 1.0, False, False, {}))
    assert encoder is not None
    assert len(encoder.head) == 11 + layout.head_bytes
    assert len(encoder.buffers) == layout.buffer_count == 1


def test_a_lock_is_an_opaque_in_an_info_and_refused_anywhere_else(layout: Layout) -> None:
    lock = threading.Lock()
    for encode in (lambda result: results.pack_step(layout, result), results.encode_step):
        encoder = encode((OBSERVATION, 1.0, False, False, {"debug": [lock]}))
        assert encoder.replaced == [("$.info['debug'][0]", "_thread.lock")]
    encoder = results.pack_step(layout, (OBSERVATION, 1.0, False, False, {"debug": [lock]}))
    assert unpacked(layout, encoder)[4] == {"debug": [Opaque("_thread.lock", repr(lock))]}
    for index, path in enumerate(["$.observation[0]", "$.reward[0]", "$.terminated[0]", "$.truncated[0]"]):
        result: list[Any] = [OBSERVATION, 1.0, False, False, {}]
        result[index] = [lock]
        assert results.pack_step(layout, result) is None
        with pytest.raises(CannotEncode) as refused:
            results.encode_step(result)
        assert refused.value.path == path


@pytest.mark.parametrize("info", [{}, {"a": np.zeros(600)}], ids=["plain", "info"])
def test_short_and_long_bytes_are_a_bad_value(layout: Layout, info: Any) -> None:
    encoder = results.pack_step(layout, (OBSERVATION, 1.0, False, False, info))
    assert encoder is not None
    buffers = received(encoder.buffers)
    for size in range(len(encoder.head)):
        with pytest.raises(BadValue):
            results.unpack_step(layout, encoder.head[:size], buffers, None)
    for count in range(len(buffers)):
        with pytest.raises(BadValue):
            results.unpack_step(layout, encoder.head, buffers[:count], None)
    with pytest.raises(BadValue, match=r"left over|are not one step"):
        unpacked(layout, encoder, b"N")
    with pytest.raises(BadValue, match=r"left over|are not one step"):
        results.unpack_step(layout, encoder.head, [*buffers, buffers[0]], None)


def test_an_action_is_just_its_layouts_version_and_bytes(layout: Layout) -> None:
    head, buffers = bytearray(layout.stamp), []
    assert layout.pack(OBSERVATION, head, buffers)
    buffers = received(buffers)
    assert same(results.unpack_action(layout, head, buffers), OBSERVATION)
    for bad in ((head + b"\0", buffers), (head[:-1], buffers), (head, []), (head, buffers * 2)):
        with pytest.raises(BadValue, match="are not one action"):
            results.unpack_action(layout, *bad)
    with pytest.raises(BadValue, match="too few"):
        results.unpack_action(layout, head[:1], [])
    with pytest.raises(BadValue, match="have no layout"):
        results.unpack_action(None, head, buffers)


@pytest.mark.parametrize(("theirs", "ours"), [(0, 1), (1, 0), (0x10000 - 1, 0x10000)])
def test_what_another_version_of_a_layout_has_packed_is_a_bad_frame(theirs: int, ours: int) -> None:
    data = describe(SPACE, "$")
    packing, reading = compile_layout(data, version=theirs), compile_layout(data, version=ours)
    match = f"packed by version {theirs} of a layout, and this is version {ours & 0xFFFF}"
    step = results.pack_step(packing, (OBSERVATION, 1.0, False, False, {}))
    with pytest.raises(BadFrame, match=match):
        results.unpack_step(reading, step.head, received(step.buffers), None)
    head, buffers = bytearray(packing.stamp), []
    assert packing.pack(OBSERVATION, head, buffers)
    with pytest.raises(BadFrame, match=match):
        results.unpack_action(reading, head, received(buffers))


def test_every_call_has_a_name_and_a_state_that_allows_it() -> None:
    calls = set(range(messages.MAKE, max(set.union(*messages.LEGAL.values())) + 1))
    assert set(messages.CALL_NAMES) == calls
    assert set.union(*messages.LEGAL.values()) == calls
    assert messages.LEGAL[messages.CLOSED] == set()
    assert "step is not legal while the env is new" in str(messages.Illegal(messages.STEP, messages.NEW))
    assert "call 99 is not legal" in str(messages.Illegal(99, messages.MADE))
