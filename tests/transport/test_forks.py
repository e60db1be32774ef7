"""Forks of a process that holds shared memory: what the hooks do, alone and when several forks are under way."""

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from support.arena_ends import SIZE, Ends, frame, hand_back, pass_frame, send_leased, two_ends

from gym_service.client.batch_memory import BatchMemory
from gym_service.transport import forks, shared_memory
from gym_service.transport.arena import Arena

LARGE = 512 * SIZE  # some milliseconds to copy


def in_a_child(act: Callable[[], bool], meanwhile: Callable[[], object]) -> bool:
    """What ``act`` returns in a forked child, after ``meanwhile`` here, which begins as soon as the fork returns."""
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(go_write)
            os.read(go_read, 1)  # until the parent closes its end
            os._exit(act())
        finally:
            os._exit(3)
    os.close(go_read)
    try:
        meanwhile()
    finally:
        os.close(go_write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    return bool(code)


def overwrite(array: np.ndarray, value: int) -> bool:
    array[:] = value
    return True


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_a_child_writes_is_its_own_and_what_the_parent_writes_is_the_parents(ends: Ends, is_closed: bool) -> None:
    held = send_leased(*ends, frame(1, LARGE))
    if is_closed:
        for end in ends:
            end.close()
    assert in_a_child(lambda: bool((held == 1).all()), lambda: overwrite(held, 2))
    assert in_a_child(lambda: overwrite(held, 3), lambda: None)
    assert (held == 2).all()


def test_the_memory_of_a_child_is_unmapped_when_nothing_sees_it(ends: Ends) -> None:
    held = [send_leased(*ends, frame(1, LARGE))]
    address = held[0].ctypes.data

    def is_mapped() -> bool:
        with open("/proc/self/maps") as file:
            return any(line.startswith(f"{address:x}-") for line in file)

    def is_unmapped() -> bool:
        was_mapped = is_mapped()
        held.clear()
        return was_mapped and not is_mapped()

    assert in_a_child(is_unmapped, lambda: None)


def test_each_holder_does_all_that_a_fork_asks_of_it() -> None:
    assert {Arena, BatchMemory} <= {*forks.Holder.__subclasses__()}
    for cls in (Arena, BatchMemory):
        for name in ("begin_fork", "end_fork", "close"):
            assert getattr(cls, name) is not getattr(forks.Holder, name), (cls, name)


def seen_by_a_child_and_dropped(lender: Arena, borrower: Arena) -> None:
    received = send_leased(lender, borrower, frame(2))
    assert (received == 2).all()


def test_a_fork_within_a_fork_does_not_end_it(ends: Ends) -> None:
    """A signal handler forks while the hooks of another fork run in the same thread."""
    lender, borrower = ends
    forks._begin()
    forks._begin()
    forks._end()
    seen_by_a_child_and_dropped(lender, borrower)
    hand_back(lender, borrower)
    forks._end()
    assert not lender._slots, "the slot is retired"
    assert not borrower.forks
    seen_by_a_child_and_dropped(lender, borrower)
    hand_back(lender, borrower)
    assert lender._slots, "later ones are not"


def test_memory_that_is_first_shared_between_the_hooks_is_retired_too() -> None:
    forks._begin()
    lender, borrower = two_ends()
    seen_by_a_child_and_dropped(lender, borrower)
    hand_back(lender, borrower)
    forks._end()
    assert not lender._slots
    for end in (lender, borrower):
        end.close()


def test_a_thread_that_returns_a_slot_during_the_last_hook_hides_no_other(ends: Ends) -> None:
    lender, borrower = ends
    first, second = pass_frame(lender, borrower, [frame(1), frame(2)]), pass_frame(lender, borrower, [frame(3)] * 2)
    del first, second
    pass_frame(borrower, lender)
    pass_frame(lender, borrower, [frame(5)])
    _, notes = borrower.compose((), (), 3)
    forks._begin()
    pass_frame(lender, borrower, [frame(6)])  # the child has a copy of it
    thread = threading.Thread(target=notes.settle)

    def settle_once(of: FrameType, event: str, arg: object) -> Any:
        if of.f_code is Arena._may_be_reused.__code__ and thread.ident is None:
            thread.start()
            thread.join()

    before = sys.gettrace()
    sys.settrace(settle_once)
    try:
        forks._end()
    finally:
        sys.settrace(before)
    assert thread.ident is not None
    assert len(borrower._theirs) == 1


class Forking:
    """A slot whose size takes so long to read that another thread forks."""

    is_leased = True

    @property
    def size_bytes(self) -> int:
        forks._begin()
        forks._end()
        return SIZE


@pytest.mark.parametrize("is_lender", [True, False])
def test_a_thread_that_forks_while_sizes_are_added_up_fails_no_frame(ends: Ends, is_lender: bool) -> None:
    lender, borrower = ends
    held = send_leased(lender, borrower, frame(1))
    end: Any = lender if is_lender else borrower
    end._theirs = {-1: Forking(), **end._theirs}
    received = send_leased(lender, borrower, frame(2, 3 * SIZE))
    assert (received == 2).all()
    assert (held == 1).all()
    end._theirs.pop(-1, None)


def test_memory_that_is_shared_while_a_fork_waits_knows_of_its_end(monkeypatch: pytest.MonkeyPatch, ends: Ends) -> None:
    made: list[Ends] = []
    monkeypatch.setattr(forks, "_wait", lambda pipe: made.append(two_ends()))
    forks._begin()
    forks._end()
    for end in made[0]:
        assert not end.forks
        end.close()


def test_memory_that_is_private_is_not_copied_again_by_the_next_fork(ends: Ends) -> None:
    held = send_leased(*ends, frame(1, LARGE))

    def is_private() -> bool:
        return not shared_memory.is_any_shared() and in_a_child(lambda: bool((held == 1).all()), lambda: None)

    assert shared_memory.is_any_shared()
    assert in_a_child(is_private, lambda: None)


@pytest.mark.parametrize("step", ["begin_fork", "close"])
def test_an_interrupt_in_a_hook_leaves_no_memory_shared(ends: Ends, step: str) -> None:
    class Interrupted(forks.Holder):
        times = 0

        def begin_fork(self, fork: Any) -> None:
            self.interrupt("begin_fork")

        def end_fork(self, fork: Any) -> None:
            pass

        def close(self) -> None:
            self.interrupt("close")

        def interrupt(self, where: str) -> None:
            if where == step:
                self.times += 1
                raise KeyboardInterrupt

    first = Interrupted()
    held = send_leased(*ends, frame(1, LARGE))
    forks.tell_of_forks(first)
    with warnings.catch_warnings(), silenced():
        warnings.simplefilter("ignore")
        assert in_a_child(lambda: overwrite(held, 3), lambda: None)
        assert in_a_child(lambda: bool((held == 1).all()), lambda: overwrite(held, 2))
    assert (held == 2).all()
    assert first.times == (4 if step == "begin_fork" else 0)


@contextmanager
def silenced() -> Iterator[None]:
    """Print nothing of an exception that CPython drops."""
    before, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        yield
    finally:
        sys.unraisablehook = before


STOPPED = """
import os, signal, time
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGSTOP))
from support.arena_ends import frame, send_leased, two_ends
held = send_leased(*two_ends(), frame(1))
begun = time.monotonic()
child = os.fork()
took_s = time.monotonic() - begun
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(took_s)
"""


def test_a_child_that_is_stopped_holds_up_its_parent_for_a_second_only() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-W", "ignore", "-c", STOPPED]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert forks.LONGEST_S <= float(ran.stdout) < 10 * forks.LONGEST_S
