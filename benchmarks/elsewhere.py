"""A contender in a process of its own, which takes its blocks there when it is told to.

For what needs another interpreter, or a client that has nothing else open. Never imports gym_service. Standard library
only, Python 3.10 and up.

The protocol: the process prints a line once it is ready; then it reads a number of calls from each line, makes them,
and prints the seconds that they took; it ends at the end of its standard input.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.children import Missing, started
from benchmarks.interleaved import Block, Clocked


def python_with(module: str, variable: str) -> str:
    """The interpreter that this environment variable names, else this one. Raises Missing if it lacks the module."""
    python = os.environ.get(variable, sys.executable)
    find = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"
    try:
        has_it = not subprocess.run([python, "-c", find], capture_output=True, check=False).returncode
    except OSError as error:
        raise Missing(f"{variable}={python}: {error.strerror}") from error
    if not has_it:
        raise Missing(f"{python} has no {module}; {variable}=… names an interpreter that has")
    return python


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
