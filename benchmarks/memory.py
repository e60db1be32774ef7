"""Whether client and server keep anything from step to step: their resident memory over a million steps.

Knows /proc and one env. Python 3.10 and up, Linux.
"""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.contenders import opened
from benchmarks.record import Memory, machine
from benchmarks.simulators import CARTPOLE, FRAME, Simulator
from benchmarks.stepping import stepping

SIMULATORS = {"cartpole": ("CartPole", CARTPOLE), "frame": ("640×480×3", FRAME)}
STEPS = 1_000_000
SAMPLES = 40


def measured(title: str, simulator: Simulator, steps: int, progress: Callable[[int], None]) -> Memory:
    """Step so often; look at both processes before, and after every fortieth part."""
    part = max(1, steps // SAMPLES)
    with opened(simulator) as env:
        pids = os.getpid(), int(env.target["pid"])
        step = stepping(env)
        taken = [(0, *map(resident_bytes, pids))]
        for done in range(part, part * SAMPLES + 1, part):
            for _ in range(part):
                step()
            taken.append((done, *map(resident_bytes, pids)))
            progress(done)
    counts, client, server = zip(*taken, strict=True)
    return Memory(title, counts, client, server, machine())


def resident_bytes(pid: int) -> int:
    """What the process has in memory, shared memory included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
