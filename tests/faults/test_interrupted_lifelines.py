"""A TimeoutError of a signal handler during talk with the guardian: it comes out, and no server counts as ended."""

import contextlib
import gc
import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from gym_service_launcher.processes.guardian_client import Lifeline
from gym_service_launcher.processes.guardian_process import GuardianProcess
from gym_service_launcher.standalone.guardian import Order
from gym_service_launcher.standalone.procfs import children as all_children  # zombies too
from support import polling, procfs
from support.interrupts import Late, Tally, caught, interrupt_at_each, interrupted_at
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

import gym_service

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

ACTS: dict[str, Callable[[Lifeline], Any]] = {
    "exit_code": lambda lifeline: lifeline.exit_code(0.0),
    "order": lambda lifeline: lifeline.order(Order.DIAGNOSE),
    "state": Lifeline.classify_main_thread,
}


@pytest.mark.parametrize("what", ACTS)
def test_at_every_line(what: str) -> None:
    tally = Tally()
    ours, guardian = socket.socketpair()
    with guardian:
        lifeline = Lifeline(ours)

        def act() -> None:
            if what == "state":
                guardian.send(b"state sleeping\n")
            ACTS[what](lifeline)

        def check(point: int, where: str) -> None:
            assert lifeline.exit_code(0.0) is None, where

        interrupt_at_each(act, check, 1, tally, kinds=(TimeoutError,))
        tally.check()
        guardian.send(b"ended 3\n")
        assert lifeline.exit_code(5.0) == 3
        lifeline.close()


def test_a_fork_server_whose_release_was_interrupted_ends_with_the_next_close() -> None:
    threads, interrupts = threading.active_count(), 0
    keys: dict[str, Any] = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "prefork": True}
    for point in range(100):
        env = gym_service.make("small", entry_point="small_steps:SmallEnv", **keys)
        with interrupted_at(point, TimeoutError, modules=("gym_service_launcher.processes.forkservers",)) as found:
            error = caught(env.close)
        assert error is found.raised, (found.where, error)
        env.close()
        polling.until(lambda: threading.active_count() <= threads, f"the end of the fork server: {found.where}", 10.0)
        if found.raised is None:
            break
        interrupts += 1
    assert interrupts > 5


@pytest.mark.parametrize("prefork", [False, True])
def test_half_a_request_is_never_left(prefork: bool) -> None:
    """A process takes the next request for the rest of it, and ends; all servers that it has started end with it."""
    keys: dict[str, Any] = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "prefork": prefork}
    make = partial(gym_service.make, "small", entry_point="small_steps:SmallEnv", **keys)
    modules = ("gym_service_launcher.processes.guardian_client", "gym_service_launcher.standalone.fd_passing")
    with contextlib.closing(make()) as kept:
        kept.reset()
        for point in range(20):
            with interrupted_at(point, Late, modules=modules, functions=("send_request", "send")) as found:
                error = caught(lambda: make().close())
            assert error is found.raised, (found.where, error)
            make().close()
            assert kept.step(7)[0].tolist() == [point + 1, 7], found.where
            if found.raised is None:
                break
        assert point > 2


def start_guardian() -> GuardianProcess:
    guardian = GuardianProcess()
    guardian.wait_for_start()
    return guardian


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
def test_no_guardian_and_no_zombie_is_left_by_an_interrupted_start(every: int) -> None:
    interrupts, fds, children = 0, {*procfs.open_fds()}, all_children()
    for point in range(0, 200, every):
        started: list[GuardianProcess] = []
        with interrupted_at(point, TimeoutError, modules=(GuardianProcess.__module__,)) as found:
            error = caught(lambda: started.append(start_guardian()))  # noqa: B023
        assert error is found.raised, (found.where, error)
        where, is_over = found.where, error is None
        for guardian in started:
            guardian.dispose()
        del error, found
        gc.collect()
        polling.until(lambda: all_children() == children, f"no child, after {where}", 5.0)
        polling.until(
            lambda: caught(procfs.guardian_of) is None, f"only this process's own guardian, after {where}", 5.0
        )
        if is_over:
            break
        interrupts += 1
    assert interrupts > 5
    # A few lines open a descriptor, and the next one remembers it.
    left = {*procfs.open_fds()} - fds
    assert len(left) <= interrupts  # of a pair of sockets it is two
    for opened in left:
        os.close(int(opened.partition(" ")[0]))
