"""Processes that use up the cores, as a learner or somebody else's work does beside its simulators.

As a program it is one of them. Standard library only, Python 3.10 and up, Linux for the pinning.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.children import python_of, started

# How long one of ``taking_turns`` runs, and then sleeps.
TURN_S = 5e-3


@contextmanager
def other_cores() -> Iterator[None]:
    """Keep every core busy but the first, each with a process of its own that is bound to it.

    On two cores that is one process. Nothing else is bound: the kernel may put it where it likes.
    """
    with _running([["loop", str(core)] for core in sorted(os.sched_getaffinity(0))[1:]]):
        yield


@contextmanager
def other_sessions() -> Iterator[None]:
    """Run eight busy loops, each in a session of its own, as programs of other terminals are."""
    with _running([["session"]] * 8):
        yield


@contextmanager
def taking_turns() -> Iterator[None]:
    """Run four processes that run and sleep for TURN_S each, as envs and loaders of data do."""
    with _running([["turns"]] * 4):
        yield


@contextmanager
def _running(programs: Sequence[Sequence[str]]) -> Iterator[None]:
    with ExitStack() as stack:
        for words in programs:
            child = stack.enter_context(started(python_of("benchmarks.busy", *words)))
            stack.callback(child.process.terminate)
            child.line()
        yield


def main() -> None:
    kind, *core = sys.argv[1:]
    if core:
        os.sched_setaffinity(0, {int(core[0])})
    parent = os.getppid()
    if kind == "session":
        os.setsid()
    print("busy", flush=True)
    while os.getppid() == parent:
        until = time.monotonic() + TURN_S
        while time.monotonic() < until:
            pass
        if kind == "turns":
            time.sleep(TURN_S)


if __name__ == "__main__":
    main()
