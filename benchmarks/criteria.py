"""What this project promises of its speed, as data, and whether a run has shown it.

Knows the names of workloads and contenders, and records. Never knows how anything is timed or shown.
Python 3.10 and up.
"""

import statistics
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from benchmarks import workloads as names
from benchmarks.interleaved import Timing, quartiles, ratios
from benchmarks.record import Memory, Record

LEAST_BLOCKS = 30
# A control of which one block took more than so many times another says that the machine was not steady.
MOST_VARIATION = 2.0
# About a byte for each of the steps between: less than any object.
FLAT_BYTES = 512 * 1024
LEAST_STEPS = 1_000_000


class Verdict(str, Enum):
    """What one criterion came to."""

    PASS = "PASS"
    FALL_SHORT = "FALL SHORT"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Criterion:
    """A ratio of two contenders of one workload: of their times, or of their speeds.

    ``and_control`` names a contender whose time is added to that of the control. ``floor`` names one that does the
    least of what the contender must do. Its ratio is shown too: no better one can be reached on this machine in these
    minutes.
    """

    text: str
    workload: str
    contender: str
    control: str
    must: float
    aim: float | None = None
    of_speeds: bool = False
    and_control: str | None = None
    floor: str | None = None

    def meets(self, ratio: float, bound: float | None) -> bool:
        if bound is None:
            return False
        return ratio >= bound if self.of_speeds else ratio <= bound


CRITERIA = (
    Criterion(
        "CartPole over unix ÷ (in-process + 64 bytes, looking)",
        "cartpole",
        names.OURS,
        names.IN_PROCESS,
        2.2,
        1.7,
        and_control=names.LOOKING,
        floor=names.LEAST,
    ),
    Criterion(
        "CartPole over unix ÷ AsyncVectorEnv", "cartpole", names.OURS, names.ASYNC, 0.17, 0.13, floor=names.LEAST
    ),
    Criterion("the same, the other core busy", "busy", names.OURS, names.ASYNC, 0.55, 0.43, floor=names.LEAST),
    Criterion(
        "the same, eight busy loops in other sessions",
        "sessions",
        names.OURS,
        names.ASYNC,
        0.70,
        0.50,
        floor=names.LEAST,
    ),
    Criterion("the same, four processes that run and sleep", "turns", names.OURS, names.ASYNC, 1.0, 0.7),
    Criterion("640×480×3 ÷ AsyncVectorEnv", "frame", names.OURS, names.ASYNC, 0.26, 0.20),
    Criterion("the same, eight busy loops in other sessions", "frame_sessions", names.OURS, names.ASYNC, 0.8, 0.6),
    Criterion("the same, copied", "frame", names.COPIED, names.ASYNC, 0.60, 0.48),
    Criterion("two cameras and 14 floats ÷ AsyncVectorEnv", "cameras", names.OURS, names.ASYNC, 0.36, 0.29),
    Criterion("an info of eight values ÷ no info", "infos", names.OURS, names.WITHOUT, 1.8, 1.4),
    Criterion(
        "8 CartPoles, env steps/s ÷ AsyncVectorEnv",
        "vector8",
        names.ONE_WORKER,
        names.ASYNC,
        5,
        7,
        True,
        floor=names.ONE_BARE,
    ),
    Criterion(
        "8 CartPoles, env steps/s ÷ SyncVectorEnv",
        "vector8",
        names.ONE_WORKER,
        names.SYNC,
        0.80,
        0.9,
        True,
        floor=names.ONE_BARE,
    ),
    Criterion(
        "32 CartPoles, env steps/s ÷ AsyncVectorEnv",
        "vector32",
        names.ONE_WORKER,
        names.ASYNC,
        7,
        10,
        True,
        floor=names.ONE_BARE,
    ),
    Criterion(
        "32 CartPoles, env steps/s ÷ SyncVectorEnv",
        "vector32",
        names.ONE_WORKER,
        names.SYNC,
        0.92,
        1.0,
        True,
        floor=names.ONE_BARE,
    ),
    Criterion("8 × 1 ms, 2 workers, speed ÷ bare processes", "work", names.TWO_WORKERS, names.BARE, 0.92, 0.97, True),
    Criterion(
        "a fresh client's first reset ÷ in-process",
        "start",
        names.START_OURS,
        names.START_GYMNASIUM,
        2.15,
        2.05,
        floor=names.START_TWO,
    ),
    Criterion(
        "the same, its server first ÷ in-process",
        "start",
        names.START_FIRST,
        names.START_GYMNASIUM,
        1.6,
        1.4,
        floor=names.START_TWO_FIRST,
    ),
    Criterion("the same, imports for 1 s ÷ in-process", "start", names.START_OURS_SLOW, names.START_SLOW, 1.5, 1.2),
    Criterion(
        "a second program, imports for 5 s ÷ in-process", "warm", names.START_WARM, names.START_SLOWER, 0.15, 0.12
    ),
    Criterion("16 workers, prefork ÷ one worker", "prefork", names.PREFORKED, names.WORKER, 1.3, 1.1),
    Criterion("a step with 64 open envs ÷ with one", "open", names.MANY_OPEN, names.ONE_OPEN, 1.1, 1.0),
    Criterion("8 × 2 ms, 5 % of 20 ms: recv ÷ step", "first_ready", names.READY, names.EIGHT_WORKERS, 1.8, 2.2, True),
    Criterion("the same ÷ AsyncVectorEnv", "first_ready", names.READY, names.ASYNC, 1.8, 2.2, True),
    Criterion("the same ÷ TorchRL AsyncEnvPool", "first_ready", names.READY, names.TORCHRL, 1.0, 1.5, True),
    Criterion("32 CartPoles, recv of all ÷ step", "first_ready_light", names.SENT, names.TWO_WORKERS, 0.9, 1.0, True),
    Criterion("CartPole over TCP ÷ pickles over TCP", "cartpole", names.TCP, names.PICKLE, 0.5),
    Criterion("640×480×3 over TCP ÷ pickles over TCP", "frame", names.TCP, names.PICKLE, 0.35),
)


@dataclass(frozen=True)
class Judged:
    """A criterion and what became of it."""

    text: str
    verdict: Verdict
    because: str = ""
    ratio: float | None = None
    quartiles: tuple[float, float] | None = None
    floor: float | None = None
    must: str = ""
    aim: str = ""
    meets_aim: bool = False
    control_varies: float | None = None

    def to_data(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.value}


def judged(record: Record) -> list[Judged]:
    """Every criterion, and each record of memory."""
    return [_judged(criterion, record) for criterion in CRITERIA] + _judged_memory(record)


def _judged(criterion: Criterion, record: Record) -> Judged:
    sign = "≥" if criterion.of_speeds else "≤"
    bounds = {"must": f"{sign} {criterion.must:g}", "aim": "" if criterion.aim is None else f"{criterion.aim:g}"}
    found = record.found.get(criterion.workload)
    if found is None:
        return Judged(criterion.text, Verdict.NOT_RUN, f"project.py bench {criterion.workload}", **bounds)
    for name in filter(None, (criterion.contender, criterion.control, criterion.and_control)):
        if name not in found.blocks_us:
            return Judged(criterion.text, Verdict.NOT_RUN, found.missing.get(name, f"no {name}"), **bounds)
    contender, control = found.timings[criterion.contender], found.timings[criterion.control]
    if criterion.and_control:
        added = zip(control.blocks_us, found.timings[criterion.and_control].blocks_us, strict=True)
        control = Timing(tuple(one + other for one, other in added))
    all_ratios = _ratios(criterion, contender, control)
    ratio = statistics.median(all_ratios)
    least = found.timings.get(criterion.floor) if criterion.floor else None
    verdict, because = Verdict.FALL_SHORT, ""
    if criterion.meets(ratio, criterion.must):
        verdict = Verdict.PASS
    if found.blocks < LEAST_BLOCKS:
        verdict, because = Verdict.INCONCLUSIVE, f"{found.blocks} blocks; {LEAST_BLOCKS} are needed"
    elif control.varies > MOST_VARIATION:
        verdict, because = Verdict.INCONCLUSIVE, f"{criterion.control} varied {control.varies:.1f} times"
    return Judged(
        criterion.text,
        verdict,
        because,
        ratio,
        quartiles(all_ratios),
        floor=None if least is None else statistics.median(_ratios(criterion, least, control)),
        meets_aim=criterion.meets(ratio, criterion.aim),
        control_varies=control.varies,
        **bounds,
    )


def _ratios(criterion: Criterion, contender: Timing, control: Timing) -> list[float]:
    return ratios(control, contender) if criterion.of_speeds else ratios(contender, control)


def _judged_memory(record: Record) -> list[Judged]:
    if not record.memory:
        return [Judged("memory over 1,000,000 steps", Verdict.NOT_RUN, "project.py bench memory", must="flat")]
    return [_flat(memory) for memory in record.memory.values()]


def _flat(memory: Memory) -> Judged:
    grown = f"{memory.growth_bytes / 1024:+,.0f} KiB after the first tenth"
    verdict = Verdict.PASS if memory.growth_bytes <= FLAT_BYTES else Verdict.FALL_SHORT
    if memory.steps[-1] < LEAST_STEPS:
        verdict, grown = Verdict.INCONCLUSIVE, f"{grown}; {memory.steps[-1]:,} steps; {LEAST_STEPS:,} are needed"
    return Judged(f"{memory.title}, memory over {memory.steps[-1]:,} steps", verdict, grown, must="flat")
