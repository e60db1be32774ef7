"""A TimeoutError of a signal handler during talk with the guardian: it comes out, and no server counts as ended."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from gym_service_launcher.processes.guardian_client import Lifeline
from gym_service_launcher.standalone.guardian import Order
from support.interrupts import Tally, interrupt_at_each

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
