"""Runs one workload: opens its contenders, sees that they do the same, times them in turn, closes them.

Knows workloads and records. Never knows what is promised or how it is shown. Python 3.10 and up.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.children import Missing
from benchmarks.interleaved import Block, Clocked, Step, repeated, time_in_turn
from benchmarks.record import Found, machine
from benchmarks.workloads import Workload

# Some episodes of CartPole.
COMPARED_CALLS = 60


class Different(Exception):
    """Two contenders saw different observations: whatever is timed, it is not the same work."""


def run(workload: Workload, *, blocks: int, block_s: float, progress: Callable[[int], None]) -> Found:
    """All of its blocks. What cannot be had is named in the record. Raises Different."""
    where = machine()
    with ExitStack() as stack:
        ready, missing = opened(workload, stack)
        compare({name: step for name, step in ready.items() if name not in workload.differ})
        stack.enter_context(workload.beside())
        blocks_of = {name: _block(one) for name, one in ready.items()}
        timings = time_in_turn(blocks_of, blocks=blocks, block_s=block_s, progress=progress)
    blocks_us = {name: timing.blocks_us for name, timing in timings.items()}
    return Found(workload.title, workload.env_steps, workload.floors, blocks_us, missing, where)


def opened(workload: Workload, stack: ExitStack) -> tuple[dict[str, Step | Clocked], dict[str, str]]:
    """The contenders that can be had, ready, until ``stack`` closes; and what is missing of the others."""
    ready: dict[str, Step | Clocked] = {}
    missing: dict[str, str] = {}
    for name, contender in workload.contenders.items():
        try:
            ready[name] = stack.enter_context(contender())
        except Missing as error:
            missing[name] = str(error)
    return ready, missing


def compare(contenders: Mapping[str, Step | Clocked]) -> None:
    """See the first observations of all, those that take their own time left out. Raises Different."""
    steps = {name: one for name, one in contenders.items() if not isinstance(one, Clocked)}
    for call in range(COMPARED_CALLS):
        # At once: an env may give the same memory each time.
        seen = {name: _plain(step()) for name, step in steps.items()}
        for name, observation in seen.items():
            first = next(iter(seen))
            if observation != seen[first]:
                raise Different(f"at call {call}, {name} saw another observation than {first}: nothing was timed")


def _plain(observation: Any) -> Any:
    """Its numbers, without the batch axis that AsyncVectorEnv gives to one env."""
    if isinstance(observation, dict):
        return {key: _plain(part) for key, part in observation.items()}
    return str(observation.dtype), np.ascontiguousarray(observation).tobytes()


def _block(contender: Step | Clocked) -> Block:
    return contender.block if isinstance(contender, Clocked) else repeated(contender)
