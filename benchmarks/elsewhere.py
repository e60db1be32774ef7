"""A contender in a process of its own, which takes its blocks there when it is told to.

For what needs another interpreter, or a client that has nothing else open. Never imports gym_service. Standard library
only, Python 3.10 and up.

The protocol: the process prints a line once it is ready; then it reads a number of calls from each line, makes them,
and prints the seconds that they took; it ends at the end of its standard input.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.children import started
from benchmarks.interleaved import Block, Clocked


@contextmanager
def on_order(argv: Sequence[str]) -> Iterator[Clocked]:
    """The contender that this command serves. Raises Missing, from the first line on, where it ends by itself."""
    with started(argv) as child:
        child.line()

        def block(calls: int) -> float:
            child.tell(str(calls))
            return float(child.line())

        yield Clocked(block)


def serve(block: Block) -> None:
    """Take blocks until standard input ends. What is printed meanwhile goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(block(int(line)), file=answers, flush=True)
