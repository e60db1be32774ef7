"""No interrupt leaves a lock that is waited for with a limit locked."""

import dis
import threading
from collections.abc import Callable

import pytest
from gym_service_launcher.processes import held_lock
from gym_service_launcher.processes.held_lock import while_held
from support.interrupts import NEEDS_BYTECODES, Late, caught, interrupted_at


def in_another_thread(act: Callable[[], bool]) -> bool:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


def is_free(lock: "threading._RLock") -> bool:
    return in_another_thread(lambda: while_held(lock, 0.0, lambda: True))


@pytest.mark.parametrize("answer", [True, False])
def test_it_acts_with_the_lock(answer: bool) -> None:
    lock = threading.RLock()
    assert while_held(lock, 5.0, lambda: not is_free(lock) and answer) is answer
    assert is_free(lock)


def test_a_lock_of_another_thread_stays_that_threads() -> None:
    lock, acts = threading.RLock(), []
    with lock:
        assert not in_another_thread(lambda: while_held(lock, 0.01, lambda: not acts.append("act")))
        assert not is_free(lock)
    assert not acts


def test_an_error_releases_it() -> None:
    lock = threading.RLock()
    with pytest.raises(ZeroDivisionError):
        while_held(lock, float("inf"), lambda: bool(1 / 0))
    assert is_free(lock)


@NEEDS_BYTECODES
def test_no_interrupt_leaves_it_locked() -> None:
    # Of the bytecodes after the ``try`` only the release is a call, so no signal handler runs before it.
    end = dis.Bytecode(while_held).exception_entries[0].end
    points = 0
    for point in range(200):
        lock = threading.RLock()
        with interrupted_at(point, Late, bytecodes=True) as found:
            error = caught(lambda: while_held(lock, 1.0, lambda: True))  # noqa: B023
        if error is None:
            break
        file, _, where = found.where.partition(":")
        if file == held_lock.__file__ and int(where.split()[0]) < end:
            points += 1
            assert is_free(lock), found.where
    assert points > 20
