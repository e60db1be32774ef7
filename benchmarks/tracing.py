"""What recording a trace costs a step: with and without it in turn, in one run.

    python -m benchmarks.tracing [--seconds 20]

``CartPole``; ``640x480x3`` of a simulator that takes 5 ms for a step, as one that draws; and ``640x480x3`` of one
that takes nothing, which leaves the bridge alone. Knows gym-service as a user does. Python 3.10 and up.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gym_service
from benchmarks.contenders import opened
from benchmarks.simulators import CARTPOLE, ENVS, FRAME
from benchmarks.stepping import stepping

BLOCK_S = 0.05
DRAWING_S = 0.005


def drawing() -> Any:
    """A frame of 640x480x3 from a simulator that takes DRAWING_S for it."""
    keys = {"height": 480, "width": 640, "seconds": DRAWING_S}
    where = {"python": sys.executable, "pythonpath": [str(ENVS)], "imports": ["gym_bench_envs"]}
    return gym_service.make("DrawnFrame-v0", **where, kwargs=keys)


WORK = {
    "CartPole": lambda: opened(CARTPOLE),
    "640x480x3, 5 ms a step": drawing,
    "640x480x3, the bridge alone": lambda: opened(FRAME),
}


def blocks(name: str, seconds: float) -> Iterator[tuple[float, float]]:
    """Microseconds a step, without and with a trace, block after block."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plain = stack.enter_context(closing(WORK[name]()))
        traced = gym_service.record_trace(stack.enter_context(closing(WORK[name]())), Path(folder) / "a.trace")
        steps = stepping(plain), stepping(traced.unwrapped)
        end = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < end:
            taken = [0.0, 0.0]
            for which in (0, 1) if turn % 2 else (1, 0):
                count, begun = 0, time.perf_counter()
                while time.perf_counter() - begun < BLOCK_S:
                    steps[which]()
                    count += 1
                taken[which] = (time.perf_counter() - begun) / count * 1e6
            turn += 1
            yield taken[0], taken[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each (default 20)")
    arguments = parser.parse_args()
    for name in WORK:
        found = list(blocks(name, arguments.seconds))
        plain = statistics.median(one for one, _ in found)
        cost = statistics.median(other - one for one, other in found)
        print(f"{name}: {plain:.1f} us a step, {cost:+.1f} us with a trace ({cost / plain:+.1%}), {len(found)} rounds")


if __name__ == "__main__":
    main()
