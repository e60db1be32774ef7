"""Results with the same structure are packed by a form and come back unchanged; both sides know the same forms."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import GraphInstance
from support.crossing import received
from support.same import same

from gym_service.protocol import messages, results
from gym_service.protocol.form_layout import compile_form, spec_of
from gym_service.protocol.frames import BadFrame, Frame
from gym_service.protocol.result_forms import KEPT_FORMS, MAX_ATTEMPTS, MAX_MISSES, FormReader, FormWriter
from gym_service.protocol.values import BadValue


class Pair:
    """The two ends, and how many results were packed."""

    def __init__(self) -> None:
        self.writer, self.reader = FormWriter(), FormReader()
        self.packed = 0

    def crossed(self, result: Any, *, is_sent: bool = True) -> Any:
        """The result as the client reads it, sent in the same steps as by the server's loop."""
        packed = self.writer.pack(result)
        if packed is not None:
            self.packed += 1
            frame = Frame(messages.STEPPED, 1, bytes(packed.head), received(packed.buffers))
            return self.reader.unpack(frame)
        encoder = results.encode_step(result)
        form, told = self.writer.new_form(result)
        if form is not None:
            encoder.extend(told)
            self.writer.keep(form, encoder)
            if not is_sent:
                self.writer.answered(results.encode_step(result))
                return None
        self.writer.answered(encoder)
        return self.reader.read(
            Frame(messages.RESULT, 1, bytes(encoder.head), received(encoder.buffers)), 5, GraphInstance
        )


def result(seed: int = 0, count: int = 4, info: Any = None) -> Any:
    rng = np.random.default_rng(seed)
    observation = {"a": rng.random((count, 3)), "b": (rng.integers(0, 9, (count, 40, 40), np.int16),)}
    rewards, flags = rng.random(count).astype(np.float32), rng.random(count) < 0.5
    return (
        observation,
        rewards,
        flags,
        ~flags,
        {"n": {"x": rng.random(count)}, "0": np.array(seed)} if info is None else info,
    )


def test_from_the_second_on_they_are_packed() -> None:
    pair = Pair()
    for seed in range(5):
        assert same(pair.crossed(result(seed)), result(seed))
    assert pair.packed == 4


@pytest.mark.parametrize(
    "other",
    [
        result(count=5),
        result(info={}),
        result(info={"n": 1}),
        result(info={"n": [np.zeros(2)]}),
        result(info={"n": {1, 2}}),
        result(info={"n": {"x": np.zeros(4, np.float32)}, "0": np.array(1)}),
        result(info={"0": np.array(1), "n": {"x": np.zeros(4)}}),
        result(info={"n": {"x": np.zeros(4)}, "0": np.int64(1)}),
        result(info={"n": {"x": np.zeros((4, 1))}, "0": np.array(1)}),
        result(info={"n": {"x": np.zeros(4, ">f8")}, "0": np.array(1)}),
        result(info={"n": {"x": np.array([None] * 4)}, "0": np.array(1)}),
        result(info=[{}, {"a": np.zeros(3)}]),
        result(info={0: np.zeros(4)}),
        (*result()[:1], 1.0, False, False, {}),
        (*result()[:4], {"n": np.ma.zeros(4).data.view(np.matrix)}),
    ],
)
def test_another_one_between_is_what_it_is(other: Any) -> None:
    pair = Pair()
    for seed in range(3):
        assert same(pair.crossed(result(seed)), result(seed))
        arrived = pair.crossed(other)
        assert type(arrived) is tuple
        assert len(arrived) == 5
        assert same(arrived[:4], other[:4])
        if "matrix" not in repr(other):
            assert same(arrived, other)
    assert pair.packed >= 2


def test_few_forms_are_kept_on_both_sides_and_few_are_made() -> None:
    pair = Pair()
    for turn in range(3):
        for count in range(1, 3 * KEPT_FORMS):
            assert same(pair.crossed(result(turn, count)), result(turn, count))
    assert pair.packed == 0
    for count in range(100, 100 + 2 * MAX_ATTEMPTS):
        assert same(pair.crossed(result(0, count)), result(0, count))
    kept = pair.packed
    assert same(pair.crossed(result(1, 5000)), result(1, 5000))
    assert same(pair.crossed(result(1, 5000)), result(1, 5000))
    assert pair.packed == kept  # there are no more forms


def test_a_form_that_was_never_told_is_not_packed_by() -> None:
    pair = Pair()
    pair.crossed(result(), is_sent=False)
    assert same(pair.crossed(result(1)), result(1))
    assert same(pair.crossed(result(2)), result(2))
    assert pair.packed == 1


def test_bytes_that_are_no_result() -> None:
    pair = Pair()
    pair.crossed(result())
    packed = pair.writer.pack(result(1))
    assert packed is not None
    buffers = received(packed.buffers)
    for head in (b"", b"\0", bytes(packed.head[:-1]), bytes(packed.head) + b"\0"):
        with pytest.raises(BadValue):
            pair.reader.unpack(Frame(messages.STEPPED, 1, head, buffers))
    with pytest.raises(BadValue):
        pair.reader.unpack(Frame(messages.STEPPED, 1, bytes(packed.head), []))
    with pytest.raises(BadFrame, match="form 7"):
        pair.reader.unpack(Frame(messages.STEPPED, 1, b"\7\0" + bytes(packed.head[2:]), buffers))
    for wrong in ("a", -1.5, None, 3, (1,), ("a", spec_of(1)), (0, None), (0, {}), (0, {"kind": []}), (0, 5, 5)):
        encoder = results.encode_step(result()).add(wrong)
        with pytest.raises(BadValue):
            pair.reader.read(Frame(messages.RESULT, 1, bytes(encoder.head), received(encoder.buffers)), 5, None)


@pytest.mark.parametrize("shape", [(2**31 + 1,), (1,) * 40], ids=["too large", "too many dimensions"])
def test_an_array_that_no_layout_takes_makes_no_form(shape: Any) -> None:
    """It is for the general path to say what is wrong with it: an error here would close the connection."""
    spec = {"kind": "Tuple", "spaces": [{"kind": "Box", "dtype": "|u1", "shape": shape}]}
    with pytest.raises(BadValue):
        compile_form(spec, 0)
    array = np.zeros(1, np.uint8)
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:  # numpy 1 has no such array
        array = np.broadcast_to(array, (2**31 + 2,))
    assert FormWriter().new_form((array,)) == (None, None)


def test_results_that_fit_no_form_end_the_attempts_soon() -> None:
    """Each step has another number of keys: no form pays, and none is kept."""
    pair = Pair()
    for number in range(2 * MAX_ATTEMPTS):
        info = {str(key): key for key in range(number % 40)}
        assert same(pair.crossed(result(number, info=info)), result(number, info=info))
    assert pair.writer._forms == []
    for number in range(2 * MAX_MISSES):  # and what could be packed goes the general way
        assert same(pair.crossed(result(number)), result(number))
    assert pair.packed == 0


def small(seed: int = 0, count: int = 4) -> Any:
    rng = np.random.default_rng(seed)
    flags = rng.random(count) < 0.5
    return rng.random((count, 3)), rng.random(count), flags, ~flags, {"id": np.arange(count), "in": (flags,)}


def test_a_packed_result_is_read_from_a_memory_too() -> None:
    """As many forms, one after another, as either side keeps and more."""
    pair, memory = Pair(), memoryview(bytearray(65536))
    for turn in range(3):
        for count in range(2, 2 + KEPT_FORMS + 2):
            pair.crossed(small(turn, count))
            expected = small(turn + 100, count)
            packed = pair.writer.pack(expected)
            assert packed is not None
            size_bytes = len(packed.head)
            memory[20 : 20 + size_bytes] = packed.head
            found = pair.reader.unpack_at(memory, 20, size_bytes)
            for other in (0, 1, size_bytes - 1, size_bytes + 1):
                assert pair.reader.unpack_at(memory, 20, other) is None
            memory[20:22] = b"\xff\xff"  # an unknown form
            assert pair.reader.unpack_at(memory, 20, size_bytes) is None
            memory[:] = bytes(65536)
            assert same(found, expected)
            assert len(pair.reader._readers) <= KEPT_FORMS


def test_a_result_with_large_arrays_is_not_read_from_a_memory() -> None:
    pair = Pair()
    pair.crossed(result())
    packed = pair.writer.pack(result())
    assert packed is not None
    assert packed.buffers
    assert pair.reader.unpack_at(memoryview(bytes(packed.head)), 0, len(packed.head)) is None
