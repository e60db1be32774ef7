"""Frames that only lend or only return slots: the same bytes, the same changes and the same errors as in general."""

import itertools
import struct
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from support import arena_ends
from support.arena_ends import SIZE, Ends, frame, hand_back, out, pass_frame, receive, send_leased, two_ends

from gym_service.protocol import messages
from gym_service.protocol.frames import FrameDecoder, beginning_of, frame_bytes
from gym_service.protocol.values import BadValue
from gym_service.transport.arena import SWEEP_CALLS, Arena
from gym_service.transport.leased_frames import MOST_SLOTS, leased_frame, lend, returns

KIND, HEAD = messages.STEPPED, b"the head"


def warm(slots: int = 1) -> Ends:
    """Two ends, the first of which has so many free slots."""
    ours, theirs = two_ends()
    values = [frame(number) for number in range(slots)]
    for _ in range(3):
        pass_frame(ours, theirs, values)
        hand_back(ours, theirs)
    assert len(ours._slots) == slots
    assert out(ours) == 0
    return ours, theirs


def fork(theirs: Arena) -> None:
    """What is called before and after a fork."""
    theirs.begin_fork("this one")
    theirs.end_fork("this one")


def call_id() -> int:
    """The id of the next call, in which no slot is given up."""
    return next(number for number in arena_ends.CALLS if number % SWEEP_CALLS)


def numbers(table: bytes, count: int) -> list[int]:
    return list(struct.unpack(f"<{count}Q", table))


def returning(theirs: Arena, *, is_general: bool) -> tuple[list[int], Any]:
    """The descriptors and the notes of a frame that returns all dead leases."""
    if is_general:
        return theirs.compose((), (), call_id())
    returned = returns(theirs, call_id())
    assert returned is not None
    return numbers(returned[0], returned[1]), returned[2]


# -- lending -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, MOST_SLOTS + 1))
def test_a_frame_lends_what_the_general_way_lends(count: int) -> None:
    (ours, theirs), (others, _), this = warm(count), warm(count), call_id()
    values = [frame(10 + number) for number in range(count)]
    found = lend(ours, values, this)
    assert found is not None
    table, found_count, notes = found
    general, _ = others.compose(values, (), this)
    assert (numbers(table, count), found_count) == (general, count)
    assert out(ours) == 0  # nothing changes before the frame is sent
    notes.settle()
    notes.settle()  # it can be repeated
    assert out(ours) == count
    assert notes.is_settled
    arrived = receive(theirs, numbers(table, count), this)
    assert [bytes(each) for each in arrived] == [value.tobytes() for value in values]


@pytest.mark.parametrize("order", ["F", "strided", "read-only"])
def test_any_memory_order_arrives_in_c_order(order: str) -> None:
    value = np.arange(2 * SIZE, dtype=np.uint8).reshape(2, -1)
    if order == "F":
        value = np.asfortranarray(value)
    elif order == "strided":
        value = value[:, ::2]
    value.flags.writeable = order != "read-only"
    ours, theirs = two_ends()
    for _ in range(3):
        pass_frame(ours, theirs, [value])
        hand_back(ours, theirs)
    found = lend(ours, [value], call_id())
    assert found is not None
    found[2].settle()
    assert bytes(receive(theirs, numbers(found[0], 1))[0]) == value.tobytes()


def test_what_finds_no_slot_is_left_to_the_general_way() -> None:
    ours, theirs = two_ends()
    assert lend(ours, [frame(1)], call_id()) is None  # there is no slot yet
    ours, theirs = warm(MOST_SLOTS + 1)
    assert lend(ours, [frame(number) for number in range(MOST_SLOTS + 1)], call_id()) is None
    assert lend(ours, [frame(1), frame(2, SIZE - 1)], call_id()) is None  # one is too small for a slot
    assert lend(ours, [frame(1, 4 * SIZE)], call_id()) is None
    assert out(ours) == 0
    kept = [send_leased(ours, theirs, frame(number)) for number in range(MOST_SLOTS + 1)]
    assert out(ours) == MOST_SLOTS + 1
    assert lend(ours, [frame(1)], call_id()) is None  # all slots are out
    assert [value[0] for value in kept] == list(range(MOST_SLOTS + 1))


# -- returning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, MOST_SLOTS + 1))
def test_a_frame_returns_what_the_general_way_returns(count: int) -> None:
    found = []
    for is_general in (True, False):
        ours, theirs = warm(count)
        pass_frame(ours, theirs, [frame(number) for number in range(count)])  # dropped at once
        assert out(ours) == count
        descriptors, notes = returning(theirs, is_general=is_general)
        assert len(theirs._dead) == count  # nothing changes before the frame is sent
        notes.settle()
        notes.settle()
        assert not theirs._dead
        receive(ours, descriptors)
        assert out(ours) == 0
        assert not any(slot.is_out for slot in theirs._theirs.values())
        found.append(sorted(descriptors))
    assert found[0] == found[1]


@pytest.mark.parametrize("is_general", [True, False])
def test_a_lease_that_dies_meanwhile_is_returned_by_the_next_frame(is_general: bool) -> None:
    ours, theirs = warm(2)
    first, second = pass_frame(ours, theirs, [frame(1), frame(2)])
    del first
    descriptors, notes = returning(theirs, is_general=is_general)
    del second
    notes.settle()
    notes.settle()  # after an interrupt; the other one stays
    assert len(theirs._dead) == 1
    receive(ours, descriptors)
    assert out(ours) == 1
    assert hand_back(ours, theirs) == 1


def test_nothing_to_return_is_a_frame_without_descriptors() -> None:
    _, theirs = warm()
    returned = returns(theirs, call_id())
    assert returned is not None
    assert returned[:2] == (b"", 0)


@pytest.mark.parametrize("is_general", [True, False])
def test_a_fork_while_slots_are_returned_leaves_them_usable(is_general: bool) -> None:
    """Another thread may fork after the frame is composed. No array is left that the child could see."""
    ours, theirs = warm(2)
    first, second = pass_frame(ours, theirs, [frame(1), frame(2)])
    del first
    descriptors, notes = returning(theirs, is_general=is_general)
    fork(theirs)
    notes.settle()
    receive(ours, descriptors)
    again = lend(ours, [frame(3)], call_id())
    assert again is not None
    again[2].settle()
    assert bytes(receive(theirs, numbers(again[0], 1))[0]) == frame(3).tobytes()
    del second  # the child may look at that one, so its slot is never used again
    assert hand_back(ours, theirs) == 2
    assert [slot.is_out for slot in ours._slots.values()] == [False]


def lease_of_a_fork(ours: Arena, theirs: Arena) -> None:
    value = send_leased(ours, theirs, frame(1))
    fork(theirs)
    del value


def announcement(ours: Arena, theirs: Arena) -> None:
    theirs.compose([frame(1)], (), call_id())


UNUSUAL: dict[str, Callable[[Arena, Arena], Any]] = {
    "a slot that a fork has retired": lease_of_a_fork,
    "a slot that cannot be mapped": lambda ours, theirs: theirs._refused.append(7),
    "a slot to give up": lambda ours, theirs: theirs._given_up.append(ours._slots[0]),
    "a slot to announce": announcement,
    "many leases": lambda ours, theirs: pass_frame(ours, theirs, [frame(number) for number in range(MOST_SLOTS + 1)]),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_a_frame_that_must_carry_more_is_left_to_the_general_way(what: str) -> None:
    ours, theirs = warm(MOST_SLOTS + 1)
    assert returns(theirs, call_id()) is not None
    UNUSUAL[what](ours, theirs)
    before = list(theirs._dead)
    assert returns(theirs, call_id()) is None
    assert theirs._dead == before


def test_unused_slots_are_given_up_as_often_as_before() -> None:
    _, theirs = warm()
    assert returns(theirs, 3 * SWEEP_CALLS) is None
    assert returns(theirs, 3 * SWEEP_CALLS + 1) is not None


# -- receiving ---------------------------------------------------------------------------------------------------


def arrived(theirs: Arena, descriptors: list[Any], this: int, kind: int = KIND) -> tuple[FrameDecoder, int]:
    """A decoder that has read one frame at once, and the size of that."""
    decoder = FrameDecoder()
    decoder.arena = theirs
    data = b"".join(frame_bytes(kind, this, HEAD, descriptors))
    decoder.scratch[: len(data)] = data
    decoder.state[3].append(len(data))
    return decoder, len(data)


def lent(count: int = 1) -> tuple[Ends, list[int], int]:
    """Two ends, the descriptors of a frame that lends so many slots, and its call."""
    ends, this = warm(count), call_id()
    found = lend(ends[0], [frame(10 + number) for number in range(count)], this)
    assert found is not None
    found[2].settle()
    return ends, numbers(found[0], count), this


def taken(decoder: FrameDecoder, end: int, this: int) -> Any:
    return leased_frame(decoder, beginning_of(KIND), KIND, this, end)


@pytest.mark.parametrize("count", range(1, MOST_SLOTS + 1))
def test_a_frame_is_the_one_of_the_general_way(count: int) -> None:
    seen = []
    for is_general in (True, False):
        (ours, theirs), descriptors, this = lent(count)
        decoder, end = arrived(theirs, descriptors, this)
        found = decoder.next_frame() if is_general else taken(decoder, end, this)
        assert decoder.next_frame() is found  # until it is taken
        assert decoder.at_boundary
        seen.append((found.kind, bytes(found.head), [bytes(each) for each in found.buffers], found.missing))
        assert found.call_id == this
        assert [slot.is_out for slot in theirs._theirs.values()] == [True] * count
        decoder.take()
        assert decoder.next_frame() is None
        assert decoder.next_read()[0].nbytes == decoder.scratch.nbytes  # it begins again at the beginning
        assert not theirs._dead  # the frame is still held here
        del found
        assert hand_back(ours, theirs) == count
    assert seen[0] == seen[1]


def test_any_other_bytes_stay_as_they_are() -> None:
    (_, theirs), descriptors, this = lent(MOST_SLOTS)
    # A returned slot, an announced one, one that was given up; and a buffer that follows.
    notices = [1 << 63 | flags << 60 | 5 << 40 for flags in (0b100, 0b101, 0b011, 0b110)]
    others = [[*descriptors, notice] for notice in notices] + [[descriptors[0], notice] for notice in notices]
    for each in [*others, [SIZE], [descriptors[0], SIZE], []]:
        decoder, end = arrived(theirs, each, this)
        state = decoder.state
        assert taken(decoder, end, this) is None, each
        assert decoder.state is state
    for kind, asked, less in ((messages.RESULT, this, 0), (KIND, this + 1, 0), (KIND, this, 1), (KIND, this, -1)):
        decoder, end = arrived(theirs, descriptors, this, kind)
        state = decoder.state
        assert taken(decoder, end - less, asked) is None
        assert decoder.state is state
    assert not any(slot.is_out for slot in theirs._theirs.values())


@pytest.mark.parametrize("descriptors", ["of no slot", "of a lent slot", "twice the same", "too large", "empty"])
def test_a_slot_that_is_not_available_is_refused(descriptors: str) -> None:
    (_, theirs), (descriptor,), this = lent()
    held = receive(theirs, [descriptor], this) if descriptors == "of a lent slot" else None
    forged = {
        "of no slot": [descriptor + (9 << 40)],
        "of a lent slot": [descriptor],
        "twice the same": [descriptor] * 2,
        "too large": [descriptor + SIZE],
        "empty": [descriptor - SIZE],
    }
    decoder, end = arrived(theirs, forged[descriptors], this)
    with pytest.raises(BadValue, match=r"slot \d+ (of|was)"):
        taken(decoder, end, this)
    del held


def interrupted_at(point: int, act: Callable[[], Any]) -> KeyboardInterrupt | None:
    """Raise KeyboardInterrupt at this line of ``leased_frames.py`` and what it calls. Returns it, if there was one."""
    seen = itertools.count()

    def trace(of: FrameType, event: str, arg: object) -> Any:
        if event == "line" and next(seen) == point:
            raise KeyboardInterrupt
        return trace

    sys.settrace(lambda of, event, arg: trace if "gym_service" in of.f_code.co_filename else None)
    try:
        act()
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(None)
    return None


def test_after_an_interrupt_at_any_line_the_general_way_goes_on() -> None:
    for point in itertools.count():
        (ours, theirs), descriptors, this = lent(2)
        decoder, end = arrived(theirs, descriptors, this)
        interrupted = interrupted_at(point, lambda: taken(decoder, end, this))  # noqa: B023
        if interrupted is None:
            break
        found = decoder.next_frame()
        assert [bytes(each) for each in found.buffers] == [frame(10).tobytes(), frame(11).tobytes()]
        decoder.take()
        del found
        traceback.clear_frames(interrupted.__traceback__)  # what they hold dies one after the other
        assert hand_back(ours, theirs) == 2
        assert not any(slot.is_out for slot in theirs._theirs.values())
    assert point > 20


@pytest.mark.parametrize("of", ["lend", "returns"])
def test_after_an_interrupt_at_any_line_the_notes_can_be_settled_again(of: str) -> None:
    for point in itertools.count():
        ours, theirs = warm(2)
        values = pass_frame(ours, theirs, [frame(1), frame(2)]) if of == "returns" else None
        del values
        found: list[Any] = []

        def act() -> None:
            this = call_id()
            found.append(lend(ours, [frame(3), frame(4)], this) if of == "lend" else returns(theirs, this))  # noqa: B023
            found[0][2].settle()  # noqa: B023

        if interrupted_at(point, act) is None:
            break
        if found:
            found[0][2].settle()
            receive(theirs if of == "lend" else ours, numbers(*found[0][:2]))
        elif of == "returns":
            hand_back(ours, theirs)
        if of == "lend":
            hand_back(ours, theirs)
        assert out(ours) == 0
        assert not theirs._dead
    assert point > 15
