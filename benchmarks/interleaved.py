"""Times several things in turn, block by block, so that a machine that slows down slows all of them.

Knows clocks and medians. Never knows what it times. Python 3.10 and up.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """The blocks of one contender: microseconds for one call, in the order they were taken."""

    blocks_us: tuple[float, ...]

    @property
    def median_us(self) -> float:
        """The median block."""
        return statistics.median(self.blocks_us)

    @property
    def spread_us(self) -> tuple[float, float]:
        """The quartiles."""
        low, _, high = statistics.quantiles(self.blocks_us, n=4)
        return low, high

    @property
    def varies(self) -> float:
        """The slowest tenth over the fastest: a control that varies more than twice makes a run inconclusive."""
        tenths = statistics.quantiles(self.blocks_us, n=10)
        return tenths[-1] / tenths[0]


def time_in_turn(
    contenders: Mapping[str, Callable[[], object]],
    *,
    blocks: int = 30,
    block_s: float = 0.05,
    progress: Callable[[int], None] = lambda block: None,
) -> dict[str, Timing]:
    """Time each contender in ``blocks`` blocks of about ``block_s`` seconds; no block is dropped.

    How many calls make a block is found out once, from a block that is not counted.
    """
    calls = {name: _calls_in(call, block_s) for name, call in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for block in range(blocks):
        progress(block)
        for name, call in contenders.items():
            taken[name].append(_block_us(call, calls[name]))
    return {name: Timing(tuple(blocks_us)) for name, blocks_us in taken.items()}


def ratio(timings: Mapping[str, Timing], name: str, against: str) -> float:
    """The median of the ratios block by block: what drifted hit both."""
    pairs = zip(timings[name].blocks_us, timings[against].blocks_us, strict=True)
    return statistics.median(one / other for one, other in pairs)


def _calls_in(call: Callable[[], object], block_s: float) -> int:
    calls = 1
    while True:
        block_us = _block_us(call, calls) * calls
        if block_us >= block_s * 1e6 / 2:
            return max(1, round(calls * block_s * 1e6 / block_us))
        calls *= 4


def _block_us(call: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls * 1e6
