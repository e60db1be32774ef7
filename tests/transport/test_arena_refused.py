"""Shared memory that is refused: lies about slots, memory that cannot be used, a side without descriptors."""

import array
import contextlib
import os
import resource
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from support.arena_ends import CALLS, SIZE, Ends, frame, hand_back, is_leased, pass_frame, receive, send, send_leased

from gym_service.protocol.frames import LENT
from gym_service.protocol.values import BadValue
from gym_service.transport import arena, shared_memory
from gym_service.transport.arena import LIMIT_BYTES, MOST_RETURNS, SWEEP_CALLS
from gym_service.transport.slots import ANNOUNCED, NUMBER_SHIFT, OFFERED, RETIRED, RETURNED

LIES = {
    "leased already": LENT | 0 << NUMBER_SHIFT | SIZE,
    "never announced": LENT | 1 << NUMBER_SHIFT | SIZE,
    "the last number": LENT | (2**20 - 1) << NUMBER_SHIFT | SIZE,
    "nothing": LENT | 0 << NUMBER_SHIFT,
    "too much": LENT | 0 << NUMBER_SHIFT | SIZE + 1,
    "much too much": LENT | 5 << NUMBER_SHIFT | 2**40 - 1,
    "offered while it is leased": LENT | OFFERED | 0 << NUMBER_SHIFT | SIZE,
    "offered and never announced": LENT | OFFERED | 7 << NUMBER_SHIFT | SIZE,
    "given up while it is leased": LENT | OFFERED | RETIRED | 0 << NUMBER_SHIFT | SIZE,
    "announced and not handed over": LENT | ANNOUNCED | 9 << NUMBER_SHIFT,
    "returned and never lent": LENT | RETURNED | 0 << NUMBER_SHIFT,
    "retired and never lent": LENT | RETURNED | RETIRED | 0 << NUMBER_SHIFT,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_a_slot_is_a_bad_value(ends: Ends, lie: str) -> None:
    received = send_leased(*ends, frame(1))
    with pytest.raises(BadValue):
        receive(ends[1], [LIES[lie]])
    assert (received == 1).all()


def test_a_slot_that_is_lent_twice_in_one_frame_is_a_bad_value(ends: Ends) -> None:
    send_leased(*ends, frame(1))
    hand_back(*ends)
    with pytest.raises(BadValue):
        receive(ends[1], [LENT | 0 << NUMBER_SHIFT | SIZE] * 2)


@pytest.mark.parametrize("number", [0, 1, 2**20 - 1])
def test_a_slot_that_is_not_out_cannot_be_returned(ends: Ends, number: int) -> None:
    lender, borrower = ends
    send_leased(lender, borrower, frame(1))
    hand_back(lender, borrower)
    with pytest.raises(BadValue):
        receive(lender, [LENT | RETURNED | number << NUMBER_SHIFT])


def test_a_slot_cannot_be_returned_twice_in_one_frame(ends: Ends) -> None:
    lender, borrower = ends
    received = send_leased(lender, borrower, frame(1))
    with pytest.raises(BadValue):
        receive(lender, [LENT | RETURNED | 0 << NUMBER_SHIFT] * 2)
    assert (received == 1).all()


def announce(sock: socket.socket, number: int, size: int, fds: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([struct.pack("<QQ", number, size)], rights)


@pytest.mark.parametrize("lie", ["too small", "not sealed", "no memory", "no descriptor", "two", "number", "size", "0"])
def test_memory_that_cannot_be_used_is_refused_and_leaves_no_descriptor(lie: str) -> None:
    ours, theirs = socket.socketpair()
    borrower = arena.over_socket(theirs)
    assert borrower is not None
    fds: list[int] = []
    if lie == "not sealed":
        fds.append(os.memfd_create("mine", os.MFD_ALLOW_SEALING))
        os.ftruncate(fds[0], SIZE)
    elif lie == "no memory":
        fds.append(os.open(os.devnull, os.O_RDWR))
    else:
        shared_memory.create(SIZE, fds)
    size = {"too small": 2 * SIZE, "size": LIMIT_BYTES + 1, "0": 0}.get(lie, SIZE)
    announce(ours, 1 if lie == "number" else 0, size, {"no descriptor": [], "two": fds * 2}.get(lie, fds))
    os.close(fds[0])
    before = set(os.listdir("/proc/self/fd"))
    if lie == "number":
        with pytest.raises(BadValue):
            receive(borrower, [LENT | ANNOUNCED | 0 << NUMBER_SHIFT])
    else:
        receive(borrower, [LENT | ANNOUNCED | 0 << NUMBER_SHIFT])
        assert borrower.compose([], (), 1)[0] == [LENT | RETURNED | RETIRED | 0 << NUMBER_SHIFT]
    with pytest.raises(BadValue):
        borrower.lease(LENT | 0 << NUMBER_SHIFT | SIZE)
    borrower.close()
    assert set(os.listdir("/proc/self/fd")) <= before
    ours.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seals are Linux's")
def test_the_other_side_cannot_cut_memory_off(ends: Ends) -> None:
    fds: list[int] = []
    shared_memory.create(SIZE, fds)
    for size in (0, 2 * SIZE):
        with pytest.raises(PermissionError):
            os.ftruncate(fds[0], size)
    os.close(fds[0])


def test_memory_that_is_announced_to_a_closed_arena_is_a_bad_value(ends: Ends) -> None:
    """Another thread may close it while a call receives."""
    lender, borrower = ends
    descriptors, notes = lender.compose([frame(1)], (), next(CALLS))
    notes.settle()
    borrower.close()
    with pytest.raises(BadValue, match="not handed over"):
        receive(borrower, descriptors)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Leave no free descriptor to this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
    spare = []
    try:
        with contextlib.suppress(OSError):
            while True:
                spare.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in spare:
            os.close(fd)


def test_a_lender_without_descriptors_sends_inline_and_tries_again_later(ends: Ends) -> None:
    with no_descriptor_left():
        assert not any(is_leased(send(*ends, frame(number))) for number in range(5))
    received = [send(*ends, frame(number)) for number in range(SWEEP_CALLS + 5)]
    assert is_leased(received[-1])


def test_a_borrower_without_descriptors_refuses_and_gets_everything_inline(ends: Ends) -> None:
    lender, borrower = ends
    descriptors, notes = lender.compose([frame(1)], (), next(CALLS))
    notes.settle()
    with no_descriptor_left():
        assert (receive(borrower, descriptors)[0] == 1).all()
    assert list(borrower._theirs) == []
    pass_frame(borrower, lender)
    assert list(lender._slots) == []
    for number in range(20):
        received = send(lender, borrower, frame(number))
        assert not is_leased(received)
        assert (received == number).all()
    for number in range(SWEEP_CALLS):
        received = send(lender, borrower, frame(number))
        hand_back(lender, borrower)
    assert is_leased(received), "after a while it is tried again"


def test_all_that_a_borrower_refuses_is_in_its_next_frame(ends: Ends) -> None:
    """From that frame on the lender uses the other slots, however many were refused."""
    lender, borrower = ends
    values = [np.full(SIZE * size, size, np.uint8) for size in range(1, 13) for _ in range(30)]
    descriptors, notes = lender.compose(values, (), next(CALLS))
    notes.settle()
    with no_descriptor_left():
        receive(borrower, descriptors)
    assert len(borrower._refused) > MOST_RETURNS
    pass_frame(borrower, lender)
    assert list(lender._slots) == []
    assert all((send(lender, borrower, value) == value).all() for value in values)
