"""Two ends of an arena in one process: leases that are kept, sliced, overwritten, dropped; forks; lies; little memory.

Nothing that a living view can see is ever written into again; what nobody can see any more is used again.
"""

import array
import gc
import os
import resource
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from support import procfs

from gym_service.protocol.frames import LENT
from gym_service.protocol.values import BadValue
from gym_service.transport import arena, shared_memory
from gym_service.transport.arena import LEAST_BYTES, MOST_BYTES, MOST_OF_A_SIZE, RETIRED, RETURNED, Arena

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


def send(lender: Arena, borrower: Arena, value: np.ndarray) -> np.ndarray:
    """What arrives of an array: over a lease, or itself where there was no slot for it."""
    entry = lender.descriptors([value])[0]
    memory_of_it = borrower.lease(entry) if type(entry) is int else np.array(entry)
    return np.ndarray(value.shape, value.dtype, memory_of_it)


def hand_back(lender: Arena, borrower: Arena) -> int:
    """Carry what the borrower has to return; how many slots that were."""
    entries = borrower.descriptors([])
    for entry in entries:
        lender.take_back(entry)
    return len(entries)


def is_leased(value: np.ndarray) -> bool:
    while isinstance(value.base, np.ndarray):
        value = value.base
    return type(value.base).__name__ == "Lease"


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
    """Arrays come; whoever got them keeps, views, overwrites and drops them in any order."""

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
        arena._retire_all()  # what os.fork() does first; a real fork stands in a test of its own

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
    received = send(*ends, frame(1))
    seen = view(received)
    del received
    gc.collect()
    assert hand_back(*ends) == 0
    send(*ends, frame(2))
    del seen
    gc.collect()
    assert hand_back(*ends) == 2


def test_a_slot_that_was_returned_is_the_next_to_be_used(ends: Ends) -> None:
    lender, borrower = ends
    first = send(lender, borrower, frame(1)).ctypes.data
    assert hand_back(lender, borrower) == 1
    assert send(lender, borrower, frame(2)).ctypes.data == first


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", "c16", "M8[s]", "U7", "?"])
@pytest.mark.parametrize("order", ["as it is", "reversed", "transposed", "strided"])
def test_an_array_arrives_in_c_order_whatever_order_it_lay_in(ends: Ends, dtype: str, order: str) -> None:
    value = np.arange(160 * 320).reshape(160, 320).astype(dtype)
    value = {"as it is": value, "reversed": value[::-1, ::-1], "transposed": value.T, "strided": value[::2, ::2]}[order]
    received = send(*ends, value)
    assert is_leased(received) == (value.nbytes >= LEAST_BYTES)
    assert received.flags.c_contiguous
    assert received.flags.writeable
    assert received.dtype == value.dtype
    assert received.tobytes() == value.tobytes()


def test_who_keeps_all_gets_copies_from_some_point_on(ends: Ends) -> None:
    kept = [send(*ends, frame(number)) for number in range(MOST_OF_A_SIZE + 20)]
    assert [is_leased(received) for received in kept] == [True] * MOST_OF_A_SIZE + [False] * 20
    assert all((received == number % 251).all() for number, received in enumerate(kept))
    del kept
    assert hand_back(*ends) == MOST_OF_A_SIZE
    assert is_leased(send(*ends, frame(1)))


def test_all_that_is_lent_stays_below_the_bound(ends: Ends) -> None:
    lender, borrower = ends
    large = np.zeros(MOST_BYTES // 4 + 1, np.uint8)
    kept = [send(lender, borrower, large) for _ in range(5)]
    assert [is_leased(received) for received in kept] == [True] * 3 + [False] * 2
    assert not is_leased(send(lender, borrower, np.zeros(MOST_BYTES + 1, np.uint8)))


def test_no_descriptor_is_kept(ends: Ends) -> None:
    before = procfs.fd_numbers()
    kept = [send(*ends, frame(number)) for number in range(20)]
    assert procfs.fd_numbers() == before
    assert len(kept) == 20


def test_memory_is_given_back_when_both_ends_and_all_views_are_gone() -> None:
    def mappings() -> int:
        return sum("memfd:gym-service" in line for line in procfs.mappings())

    lender, borrower = two_ends()
    kept = [send(lender, borrower, frame(number)) for number in range(10)]
    assert mappings() >= 1
    lender.close()
    borrower.close()
    del lender, borrower
    gc.collect()
    assert all((received == number).all() for number, received in enumerate(kept)), "they outlive both ends"
    del kept
    gc.collect()
    assert mappings() == 0


def test_views_that_die_in_another_thread(ends: Ends) -> None:
    lender, borrower = ends
    for number in range(300):
        held = [send(lender, borrower, frame(number))]
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        hand_back(lender, borrower)
    assert len(lender._lent) == 1


def test_what_a_forked_child_sees_does_not_change(ends: Ends) -> None:
    lender, borrower = ends
    held = send(lender, borrower, frame(1))
    dropped = send(lender, borrower, frame(2))
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
        received = send(lender, borrower, frame(number))
        assert is_leased(received)
        arena._retire_all()
        del received
        hand_back(lender, borrower)
    assert lender._lent_bytes <= 2 * SIZE


@pytest.mark.parametrize(
    "entry",
    [
        LENT | 0 << arena.NUMBER_SHIFT | SIZE,  # leased already
        LENT | 1 << arena.NUMBER_SHIFT | SIZE,  # never announced
        LENT | (2**20 - 1) << arena.NUMBER_SHIFT | SIZE,
        LENT | 0 << arena.NUMBER_SHIFT | SIZE - 1,
        LENT | RETIRED | 5 << arena.NUMBER_SHIFT | 2**40 - 1,
    ],
)
def test_a_lie_about_a_slot_is_a_bad_value(ends: Ends, entry: int) -> None:
    received = send(*ends, frame(1))
    with pytest.raises(BadValue):
        ends[1].lease(entry)
    assert (received == 1).all()


@pytest.mark.parametrize("number", [0, 1, 2**20 - 1])
def test_a_slot_that_is_not_out_cannot_be_returned(ends: Ends, number: int) -> None:
    lender, borrower = ends
    send(lender, borrower, frame(1))
    hand_back(lender, borrower)
    for flags in (0, RETIRED):
        with pytest.raises(BadValue):
            lender.take_back(LENT | RETURNED | flags | number << arena.NUMBER_SHIFT)


def announce(sock: socket.socket, number: int, size: int, fds: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([struct.pack("<QQ", number, size)], rights)


@pytest.mark.parametrize("lie", ["too small", "not sealed", "no memory", "no descriptor", "two", "number", "size", "0"])
def test_a_lie_about_memory_is_a_bad_value_and_leaves_no_descriptor(lie: str) -> None:
    ours, theirs = socket.socketpair()
    borrower = arena.over_socket(theirs)
    assert borrower is not None
    fd = shared_memory.create(SIZE) if lie != "not sealed" else os.memfd_create("mine", os.MFD_ALLOW_SEALING)
    if lie == "not sealed":
        os.ftruncate(fd, SIZE)
    if lie == "no memory":
        os.close(fd)
        fd = os.open(os.devnull, os.O_RDWR)
    size = {"too small": 2 * SIZE, "size": MOST_BYTES + 1, "0": 0}.get(lie, SIZE)
    announce(ours, 1 if lie == "number" else 0, size, {"no descriptor": [], "two": [fd, fd]}.get(lie, [fd]))
    os.close(fd)
    before = set(procfs.fd_numbers())
    with pytest.raises(BadValue, match="cannot be had"):
        borrower.lease(LENT | 0 << arena.NUMBER_SHIFT | size)
    assert set(procfs.fd_numbers()) <= before
    borrower.close()
    ours.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seals are Linux's")
def test_the_other_side_cannot_cut_memory_off(ends: Ends) -> None:
    fd = shared_memory.create(SIZE)
    for change in (lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 2 * SIZE)):
        with pytest.raises(PermissionError):
            change()
    os.close(fd)


def test_without_descriptors_arrays_travel_inline(ends: Ends) -> None:
    lender, borrower = ends
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(procfs.fd_numbers())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
    spare = []
    try:
        while True:
            spare.append(os.dup(0))
    except OSError:
        received = send(lender, borrower, frame(1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in spare:
            os.close(fd)
    assert not is_leased(received)
    assert is_leased(send(lender, borrower, frame(2)))


def test_what_is_small_is_not_lent(ends: Ends) -> None:
    small = np.zeros(LEAST_BYTES - 1, np.uint8)
    assert ends[0].descriptors([small])[0] is small
