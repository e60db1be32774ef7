"""A TimeoutError of a signal handler while /proc is read: it comes out, and never looks like an ended process."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from gym_service_launcher.standalone import procfs
from support.interrupts import Tally, interrupt_at_each

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

READS: dict[str, Callable[[], Any]] = {
    "is_ours": procfs.is_ours,
    "process": lambda: procfs.process(os.getpid()),
    "children": procfs.children,
    "main_thread": lambda: procfs.main_thread(os.getpid()),
    "oom_kills": procfs.oom_kills,
    "memory_bytes": procfs.memory_bytes,
    "process_name": lambda: procfs.process_name(os.getpid()),
    "open_files": procfs.open_files,
}


@pytest.mark.parametrize("what", READS)
def test_at_every_line(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()

    def read() -> None:
        monkeypatch.setattr(procfs, "_checked", (0, False))
        READS[what]()

    def check(point: int, where: str) -> None:
        assert procfs.is_ours(), where
        assert procfs.process(os.getpid()) is not None, where

    interrupt_at_each(read, check, 1, tally, kinds=(TimeoutError,))
    tally.check()
