"""Processes that use up the other cores, as a learner does beside its simulators.

As a program it is one of them. Standard library only, Python 3.10 and up, Linux for the pinning.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.children import python_of, started


@contextmanager
def other_cores() -> Iterator[None]:
    """Keep every core busy but the first, each with a process of its own that is bound to it.

    On two cores that is one process. Nothing else is bound: the kernel may put it where it likes.
    """
    cores = sorted(os.sched_getaffinity(0))[1:]
    with ExitStack() as stack:
        for core in cores:
            child = stack.enter_context(started(python_of("benchmarks.busy", str(core))))
            stack.callback(child.process.terminate)
            child.line()
        yield


def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    parent = os.getppid()
    print("busy", flush=True)
    while os.getppid() == parent:
        for _ in range(100_000):
            pass


if __name__ == "__main__":
    main()
