"""Times several things in turn, block by block, so that a machine that slows down slows all of them.

Knows clocks and medians. Never knows what it times. Standard library only, Python 3.10 and up.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# One call of a contender: it makes a step, and gives the observation.
Step = Callable[[], Any]
# Makes that many calls, and gives the seconds that they took.
Block = Callable[[int], float]


@dataclass(frozen=True)
class Clocked:
    """A contender that takes its own time: in another process, say, or where only a part of a call counts."""

    block: Block


@dataclass(frozen=True)
class Timing:
    """The blocks of one contender: microseconds for one call, in the order in which they were taken; all of them."""

    blocks_us: tuple[float, ...]

    @property
    def median_us(self) -> float:
        return statistics.median(self.blocks_us)

    @property
    def quartiles_us(self) -> tuple[float, float]:
        return quartiles(self.blocks_us)

    @property
    def varies(self) -> float:
        """The slowest block over the fastest."""
        return max(self.blocks_us) / min(self.blocks_us)


def repeated(call: Callable[[], object]) -> Block:
    """The block of a contender that is simply called again and again."""

    def block(calls: int) -> float:
        begun = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - begun

    return block


def until_stepped(receive: Callable[[], int], num_envs: int) -> Block:
    """The block of a contender whose ``receive`` gives the number of env steps that came; what is over counts later."""
    over = 0

    def block(calls: int) -> float:
        nonlocal over
        begun = time.perf_counter()
        stepped = over
        while stepped < calls * num_envs:
            stepped += receive()
        over = stepped - calls * num_envs
        return time.perf_counter() - begun

    return block


def time_in_turn(
    contenders: Mapping[str, Block],
    *,
    blocks: int,
    block_s: float,
    progress: Callable[[int], None] = lambda block: None,
) -> dict[str, Timing]:
    """Time each contender in ``blocks`` blocks of about ``block_s`` seconds; no block is dropped.

    How many calls make a block is found out once, from blocks that are not counted; a block of no length is one call.
    The order is another one in each round, the same in each run, so that nobody always comes after the one that leaves
    the caches cold.
    """
    calls = {name: _calls_in(block, block_s) for name, block in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(blocks):
        progress(number)
        for name in random.Random(number).sample(sorted(contenders), len(contenders)):
            taken[name].append(contenders[name](calls[name]) / calls[name] * 1e6)
    return {name: Timing(tuple(blocks_us)) for name, blocks_us in taken.items()}


def ratios(timing: Timing, against: Timing) -> tuple[float, ...]:
    """One ratio for each round: what slowed the machine then slowed both."""
    return tuple(one / other for one, other in zip(timing.blocks_us, against.blocks_us, strict=True))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _calls_in(block: Block, block_s: float) -> int:
    calls = 1
    while block_s:
        taken_s = block(calls)
        if taken_s >= block_s / 2:
            return max(1, round(calls * block_s / taken_s))
        calls *= 4
    return calls
