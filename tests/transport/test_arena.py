"""Two ends of an arena in one process: leases kept, sliced, overwritten, dropped; forks; lies; little memory.

Memory that a live view can see is never written again; memory that no view can see is reused. After an interrupt at any
line, everything goes on as if the interrupt had not happened.
"""

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from support import procfs
from support.arena_ends import (
    SIZE,
    Ends,
    frame,
    hand_back,
    is_leased,
    pass_frame,
    send,
    send_leased,
    two_ends,
)
from support.forked import forked

from gym_service.transport import forks, slots
from gym_service.transport.arena import LEAST_BYTES, LIMIT_BYTES, MOST_OF_A_SIZE, SWEEP_CALLS
from gym_service.transport.slots import capacity_for


def fork_of_all() -> None:
    """What os.fork() calls before and after a fork; another test makes a real one."""
    forks._begin()
    forks._end()


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
    """Arrays arrive; their receiver keeps, views, overwrites and drops them in any order."""

    arrays = Bundle("arrays")

    @initialize()
    def begin(self) -> None:
        self.lender, self.borrower = two_ends()
        self.sent = 0
        self.expected: list[tuple[Any, np.ndarray]] = []  # (a view of an array, the expected content)

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
        fork_of_all()

    @invariant()
    def everything_seen_is_as_it_was(self) -> None:
        for seen, kept in getattr(self, "expected", []):
            assert np.array_equal(self.told(seen), kept)

    @staticmethod
    def told(seen: Any) -> np.ndarray:
        return np.array(seen)


TestLeases = pytest.mark.slow(Leases.TestCase)
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
    # Every second array finds the slot that was made for the one before it.
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
    """A point cloud changes its size each time. The slot of one also holds a later one that is not much smaller."""
    lender, borrower = ends
    received = None
    leased = 0
    for number in range(4000):
        size = SIZE + number * 7919 % (31 * SIZE)
        received = send(lender, borrower, frame(number, size))
        assert received.nbytes == size
        assert (received == number % 251).all()
        leased += is_leased(received)
        pass_frame(borrower, lender, call_id=SWEEP_CALLS + 1)  # free slots go back
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
            pass_frame(borrower, lender, call_id=SWEEP_CALLS + 1)  # covers every call in which the lender would sweep
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
    before = mappings()  # includes garbage of other tests, which may be collected in the meantime
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
    held = [send_leased(lender, borrower, frame(number)) for number in (1, 2)]
    seen = forked(held)
    held.clear()
    assert hand_back(lender, borrower) == 2
    for number in range(3, 40):
        send(lender, borrower, frame(number))
        hand_back(lender, borrower)
    assert seen() == [(1, 1), (2, 2)]


def in_a_thread(act: Callable[[], None]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_what_came_between_the_hooks_of_a_fork_is_retired_though_another_thread_forks_as_well(ends: Ends) -> None:
    lender, borrower = ends
    send_leased(lender, borrower, frame(1))
    hand_back(lender, borrower)
    forks._begin()
    seen_by_the_child = send_leased(lender, borrower, frame(2))
    del seen_by_the_child
    in_a_thread(fork_of_all)
    hand_back(lender, borrower)
    forks._end()
    assert not lender._slots, "the slot is retired"


def test_an_interrupt_in_a_hook_of_a_fork_keeps_no_arena_from_what_it_must_do(ends: Ends) -> None:
    class Interrupted(forks.Holder):
        told = 0

        def begin_fork(self, fork: Any) -> None:
            self.told += 1
            if self.told == 1:
                raise KeyboardInterrupt

        end_fork = begin_fork

    first = Interrupted()
    forks.tell_of_forks(first)
    later = two_ends()
    held = send_leased(*later, frame(1))
    for call in (forks._begin, forks._end):
        first.told = 0
        with pytest.raises(KeyboardInterrupt):
            call()
        assert first.told == 2
        assert not later[1]._theirs
    assert not later[1].forks
    del held
    for end in later:
        end.close()


def test_retired_slots_do_not_count(ends: Ends) -> None:
    lender, borrower = ends
    for number in range(3 * MOST_OF_A_SIZE):
        received = send_leased(lender, borrower, frame(number))
        assert is_leased(received)
        fork_of_all()
        del received
        hand_back(lender, borrower)
    assert sum(slot.size_bytes for slot in lender._slots.values()) <= 2 * SIZE


def test_what_is_small_is_not_lent(ends: Ends) -> None:
    small = np.zeros(LEAST_BYTES - 1, np.uint8)
    assert ends[0].compose([small], (), 1)[0][0] is small
