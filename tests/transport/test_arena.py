"""Two ends of an arena in one process: leases that are kept, sliced, overwritten, dropped; forks; lies; little memory.

Nothing that a living view can see is ever written into again; what nobody can see any more is used again. What is
interrupted at any line goes on as if it had not been.
"""

import array
import contextlib
import gc
import itertools
import os
import resource
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from support import procfs

from gym_service.protocol.frames import LENT, Frame, Missing
from gym_service.protocol.values import BadValue
from gym_service.transport import arena, shared_memory, slots
from gym_service.transport.arena import LEAST_BYTES, LIMIT_BYTES, MOST_OF_A_SIZE, SWEEP_CALLS, Arena
from gym_service.transport.slots import ANNOUNCED, NUMBER_SHIFT, OFFERED, RETIRED, RETURNED, capacity_for

SIZE = LEAST_BYTES
Ends = tuple[Arena, Arena]


def two_ends() -> Ends:
    ours, theirs = (arena.over_socket(sock) for sock in socket.socketpair())
    assert ours is not None
    assert theirs is not None
    return ours, theirs


@pytest.fixture
def ends() -> Iterator[Ends]:
    lender, borrower = two_ends()
    yield lender, borrower
    lender.close()
    borrower.close()


def frame(number: int, size: int = SIZE) -> np.ndarray:
    return np.full(size, number % 251, np.uint8)


CALLS = itertools.count(1)


def pass_frame(sender: Arena, receiver: Arena, values: Sequence[np.ndarray] = (), call_id: int = 0) -> list[Any]:
    """What the two arenas do for one frame, by default of a new call; the buffers of the frame as they arrive."""
    call_id = call_id or next(CALLS)
    descriptors, notes = sender.compose(list(values), (), call_id)
    notes.settle()
    return receive(receiver, descriptors, call_id)


def receive(receiver: Arena, descriptors: Sequence[Any], call_id: int = 1) -> list[Any]:
    """The buffers of a frame with these descriptors; what is no descriptor travels inline."""
    buffers, notices = receiver.split([each for each in descriptors if type(each) is int])
    arrived = Frame(0, call_id, b"", [receiver.lease(descriptor) for descriptor in buffers])
    receiver.receive(arrived, Missing(buffers, notices, 0))
    leased = iter(arrived.buffers)
    are_buffers = [each for each in descriptors if type(each) is not int or not each & ANNOUNCED]
    return [next(leased) if type(each) is int else np.array(each) for each in are_buffers]


def send(lender: Arena, borrower: Arena, value: np.ndarray) -> np.ndarray:
    """What arrives of an array: over a lease, or itself where there was no slot for it yet."""
    return np.ndarray(value.shape, value.dtype, pass_frame(lender, borrower, [value])[0])


def send_leased(lender: Arena, borrower: Arena, value: np.ndarray) -> np.ndarray:
    """What arrives of it over a lease: the first time a slot is made for the second time."""
    received = send(lender, borrower, value)
    return received if is_leased(received) else send(lender, borrower, value)


def out(lender: Arena) -> int:
    return sum(slot.is_out for slot in lender._slots.values())


def hand_back(lender: Arena, borrower: Arena) -> int:
    """Carry what the borrower has to return; how many slots that were."""
    before = out(lender)
    pass_frame(borrower, lender)
    return before - out(lender)


def is_leased(value: np.ndarray) -> bool:
    while isinstance(value.base, np.ndarray):
        value = value.base
    lease = value.base.obj if isinstance(value.base, memoryview) else value.base
    return type(lease).__name__ == "Lease"


VIEWS: list[Callable[[np.ndarray], Any]] = [
    lambda a: a[1:],
    lambda a: a[::-7],
    lambda a: a.reshape(64, -1).T,
    lambda a: a.view(np.int32),
    lambda a: memoryview(a)[5:90],
    lambda a: np.frombuffer(a, np.uint8)[3:],
    lambda a: np.asarray(memoryview(a)),
    lambda a: np.lib.stride_tricks.as_strided(a, (10,), (3,)),
    lambda a: np.broadcast_to(a[:8], (3, 8)),
    lambda a: a.ctypes.data_as(__import__("ctypes").POINTER(__import__("ctypes").c_uint8)),
]


class Leases(RuleBasedStateMachine):
    """Arrays come; their receiver keeps, views, overwrites and drops them in any order."""

    arrays = Bundle("arrays")

    @initialize()
    def begin(self) -> None:
        self.lender, self.borrower = two_ends()
        self.sent = 0
        self.expected: list[tuple[Any, np.ndarray]] = []  # something that can be looked at, and what must be seen

    def teardown(self) -> None:
        self.lender.close()
        self.borrower.close()

    @rule(target=arrays, size=st.sampled_from([SIZE, SIZE + 1, 3 * SIZE]))
    def receive(self, size: int) -> list[np.ndarray]:
        self.sent += 1
        received = send(self.lender, self.borrower, frame(self.sent, size))
        assert (received == self.sent % 251).all()
        self.expected.append((received, received.copy()))
        return [received]

    @rule(holder=arrays, view=st.sampled_from(VIEWS[:9]))
    def look_through_a_view(self, holder: list[np.ndarray], view: Callable[[np.ndarray], Any]) -> None:
        if holder and holder[0].size % 64 == 0:
            seen = view(holder[0])
            self.expected.append((seen, np.array(seen)))

    @rule(holder=arrays, value=st.integers(0, 255))
    def overwrite(self, holder: list[np.ndarray], value: int) -> None:
        if holder:
            before = [self.told(seen) for seen, _ in self.expected]
            holder[0][:] = value
            mine = np.shares_memory
            self.expected = [
                (seen, self.told(seen) if mine(np.asarray(seen), holder[0]) else kept)
                for (seen, _), kept in zip(self.expected, before, strict=True)
            ]

    @rule(holder=consumes(arrays))
    def drop_the_array_and_keep_its_views(self, holder: list[np.ndarray]) -> None:
        if holder:
            gone = holder.pop()
            self.expected = [(seen, kept) for seen, kept in self.expected if seen is not gone]

    @rule(at=st.integers(0, 100))
    def drop_something(self, at: int) -> None:
        if self.expected:
            del self.expected[at % len(self.expected)]

    @rule()
    def make_a_cycle_of_garbage(self) -> None:
        self.sent += 1
        cycle: list[Any] = [send(self.lender, self.borrower, frame(self.sent))]
        cycle.append(cycle)

    @rule()
    def collect(self) -> None:
        gc.collect()

    @rule()
    def return_what_is_free(self) -> None:
        hand_back(self.lender, self.borrower)

    @rule()
    def fork(self) -> None:
        slots._retire_all()  # what os.fork() does first; a real fork stands in a test of its own

    @invariant()
    def everything_seen_is_as_it_was(self) -> None:
        for seen, kept in getattr(self, "expected", []):
            assert np.array_equal(self.told(seen), kept)

    @staticmethod
    def told(seen: Any) -> np.ndarray:
        return np.array(seen)


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=25, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("view", VIEWS)
def test_a_slot_is_used_again_only_when_the_last_view_is_gone(ends: Ends, view: Callable[[np.ndarray], Any]) -> None:
    received = send_leased(*ends, frame(1))
    seen = view(received)
    del received
    gc.collect()
    assert hand_back(*ends) == 0
    send_leased(*ends, frame(2))
    del seen
    gc.collect()
    assert hand_back(*ends) == 2


def test_a_slot_that_was_returned_is_the_next_to_be_used(ends: Ends) -> None:
    lender, borrower = ends
    first = send_leased(lender, borrower, frame(1)).ctypes.data
    assert hand_back(lender, borrower) == 1
    assert send(lender, borrower, frame(2)).ctypes.data == first


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", "c16", "M8[s]", "U7", "?"])
@pytest.mark.parametrize("order", ["as it is", "reversed", "transposed", "strided"])
def test_an_array_arrives_in_c_order_whatever_order_it_lay_in(ends: Ends, dtype: str, order: str) -> None:
    value = np.arange(160 * 320).reshape(160, 320).astype(dtype)
    value = {"as it is": value, "reversed": value[::-1, ::-1], "transposed": value.T, "strided": value[::2, ::2]}[order]
    received = send_leased(*ends, value)
    assert is_leased(received) == (value.nbytes >= LEAST_BYTES)
    assert received.flags.c_contiguous
    assert received.flags.writeable
    assert received.dtype == value.dtype
    assert received.tobytes() == value.tobytes()


def test_who_keeps_all_gets_copies_from_some_point_on(ends: Ends) -> None:
    kept = [send(*ends, frame(number)) for number in range(2 * MOST_OF_A_SIZE + 20)]
    # Every other one finds the slot that was made for the one before.
    assert [is_leased(received) for received in kept] == [False, True] * MOST_OF_A_SIZE + [False] * 20
    assert all((received == number % 251).all() for number, received in enumerate(kept))
    del kept
    assert hand_back(*ends) == MOST_OF_A_SIZE
    assert is_leased(send(*ends, frame(1)))


def test_all_that_is_lent_stays_below_the_bound(ends: Ends) -> None:
    lender, borrower = ends
    large = np.zeros(LIMIT_BYTES // 4, np.uint8)
    kept = [send(lender, borrower, large) for _ in range(11)]
    assert [is_leased(received) for received in kept] == [False, True] * 4 + [False] * 3
    del kept
    hand_back(lender, borrower)
    assert not is_leased(send_leased(lender, borrower, np.zeros(LIMIT_BYTES + 1, np.uint8)))


def test_the_bound_holds_for_both_sides_together(ends: Ends) -> None:
    for end in ends:
        end.limit_bytes = 4 * SIZE
    left, right = ends
    kept = []
    for _ in range(10):
        kept += [send(left, right, frame(1)), send(right, left, frame(2))]
    assert sum(map(is_leased, kept)) == 4
    for end in ends:
        held = [slot.size_bytes for holder in (end._slots, end._theirs) for slot in holder.values()]
        assert sum(held) == 4 * SIZE


def test_a_limit_of_nothing_lends_nothing(ends: Ends) -> None:
    for end in ends:
        end.limit_bytes = 0
    assert not any(is_leased(send(*ends, frame(number))) for number in range(5))
    assert not ends[0]._slots


def test_what_needs_room_gets_that_of_what_is_idle(ends: Ends) -> None:
    lender, borrower = ends
    for end in ends:
        end.limit_bytes = 16 * SIZE
    kept = [send_leased(lender, borrower, frame(number)) for number in range(16)]
    assert all(map(is_leased, kept))
    del kept
    hand_back(lender, borrower)
    large = frame(1, 12 * SIZE)
    assert not is_leased(send(lender, borrower, large)), "the idle ones are given up"
    assert not is_leased(send(lender, borrower, large)), "there is room, and a slot is made"
    assert is_leased(send(lender, borrower, large))
    assert sum(slot.size_bytes for slot in borrower._theirs.values()) <= 16 * SIZE


def test_arrays_of_many_sizes_share_a_few_slots(ends: Ends) -> None:
    """A point cloud has another size each time: what one held, the next that is not much smaller goes into."""
    lender, borrower = ends
    received = None
    leased = 0
    for number in range(4000):
        size = SIZE + number * 7919 % (31 * SIZE)
        received = send(lender, borrower, frame(number, size))
        assert received.nbytes == size
        assert (received == number % 251).all()
        leased += is_leased(received)
        pass_frame(borrower, lender, call_id=SWEEP_CALLS + 1)  # what is free goes back
    assert leased > 3900
    assert sum(slot.size_bytes for slot in lender._slots.values()) <= 8 * 32 * SIZE
    assert len(slots._lease_classes) < 200


@pytest.mark.parametrize("size", [LEAST_BYTES, 92_160, 921_600, 2**20, 2**20 + 1, 10_000_000])
def test_a_slot_is_hardly_larger_than_needed(size: int) -> None:
    assert size <= capacity_for(size) <= size * 1.125 + 4096
    assert capacity_for(capacity_for(size)) == capacity_for(size)


def test_what_is_not_used_any_more_is_given_up_on_both_sides(ends: Ends) -> None:
    lender, borrower = ends
    send_leased(lender, borrower, frame(1, 10 * SIZE))
    for number in range(2 * SWEEP_CALLS + 2):
        received = send(lender, borrower, frame(number))
        if number % 7 == 0:
            pass_frame(borrower, lender, call_id=SWEEP_CALLS + 1)  # the lender misses no call in which it would sweep
    assert is_leased(received)
    for held in (lender._slots, borrower._theirs):
        assert {slot.size_bytes for slot in held.values()} == {SIZE}
    assert is_leased(send_leased(lender, borrower, frame(1, 10 * SIZE)))


def test_no_descriptor_is_kept(ends: Ends) -> None:
    before = procfs.fd_numbers()
    kept = [send(*ends, frame(number)) for number in range(20)]
    assert procfs.fd_numbers() == before
    assert len(kept) == 20


def test_memory_is_given_back_when_both_ends_and_all_views_are_gone() -> None:
    def mappings() -> int:
        return sum("memfd:gym-service" in line for line in procfs.mappings())

    gc.collect()
    before = mappings()  # of garbage that other tests have left, which may be collected meanwhile
    lender, borrower = two_ends()
    kept = [send_leased(lender, borrower, frame(number)) for number in range(10)]
    assert mappings() > before
    lender.close()
    borrower.close()
    del lender, borrower
    gc.collect()
    assert all((received == number).all() for number, received in enumerate(kept)), "they outlive both ends"
    del kept
    gc.collect()
    assert mappings() <= before


def test_views_that_die_in_another_thread(ends: Ends) -> None:
    lender, borrower = ends
    for number in range(300):
        held = [send_leased(lender, borrower, frame(number))]
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        hand_back(lender, borrower)
    assert len(lender._slots) == 1


def test_what_a_forked_child_sees_does_not_change(ends: Ends) -> None:
    lender, borrower = ends
    held = send_leased(lender, borrower, frame(1))
    dropped = send_leased(lender, borrower, frame(2))
    go_read, go_write = os.pipe()
    told_read, told_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_read, 1)
        os.write(told_write, bytes([held.min(), held.max(), dropped.min(), dropped.max()]))
        os._exit(0)
    del held, dropped
    assert hand_back(lender, borrower) == 2
    for number in range(3, 40):
        send(lender, borrower, frame(number))
        hand_back(lender, borrower)
    os.write(go_write, b"!")
    assert os.read(told_read, 4) == bytes([1, 1, 2, 2])
    os.waitpid(pid, 0)
    for fd in (go_read, go_write, told_read, told_write):
        os.close(fd)


def test_retired_slots_do_not_count(ends: Ends) -> None:
    lender, borrower = ends
    for number in range(3 * MOST_OF_A_SIZE):
        received = send_leased(lender, borrower, frame(number))
        assert is_leased(received)
        slots._retire_all()
        del received
        hand_back(lender, borrower)
    assert sum(slot.size_bytes for slot in lender._slots.values()) <= 2 * SIZE


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


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing."""
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


def test_what_is_small_is_not_lent(ends: Ends) -> None:
    small = np.zeros(LEAST_BYTES - 1, np.uint8)
    assert ends[0].compose([small], (), 1)[0][0] is small
