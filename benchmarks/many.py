"""A client that has many envs open, against one that has one: what the others cost the one that is stepped.

As a program it is the client. Python 3.10 and up.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle

from benchmarks.children import python_of
from benchmarks.contenders import opened
from benchmarks.elsewhere import on_order, serve
from benchmarks.interleaved import Clocked, repeated
from benchmarks.simulators import CARTPOLE
from benchmarks.stepping import stepping


@contextmanager
def client(open_envs: int, stepped_envs: int) -> Iterator[Clocked]:
    """A process with so many CartPoles open, which steps so many of them in turn."""
    with on_order(python_of("benchmarks.many", str(open_envs), str(stepped_envs))) as clocked:
        yield clocked


def main() -> None:
    open_envs, stepped_envs = map(int, sys.argv[1:])
    with ExitStack() as stack:
        envs = [stack.enter_context(opened(CARTPOLE)) for _ in range(open_envs)]
        steps = cycle([stepping(env) for env in envs][:stepped_envs])
        serve(repeated(lambda: next(steps)()))


if __name__ == "__main__":
    main()
