"""What a terminal shows of a run.

Knows rich, records and verdicts. Python 3.10 and up.
"""

import statistics
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from benchmarks.criteria import MOST_VARIATION, Judged, Verdict
from benchmarks.interleaved import Timing, ratios
from benchmarks.record import Found, Memory
from benchmarks.workloads import ASYNC

STYLES = {
    Verdict.PASS: "green",
    Verdict.FALL_SHORT: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_RUN: "dim",
}


def workload_table(found: Found) -> Group:
    """The medians with their spread, the ratios to one yardstick, how steady each was, and what stands under it all."""
    yardstick = ASYNC if ASYNC in found.blocks_us else next(iter(found.floors), next(iter(found.blocks_us)))
    table = _table(f"{found.title} ({found.blocks} blocks of each, in turn)")
    table.add_column("", no_wrap=True)
    for heading in ("median", "quartiles", *_speed_heading(found), f"÷ {yardstick}", "slowest ÷\nfastest block"):
        table.add_column(heading, justify="right")
    timings = found.timings
    for name, timing in timings.items():
        speed = [f"{found.env_steps / timing.median_us * 1e6:,.0f}"] if found.env_steps > 1 else []
        against = statistics.median(ratios(timing, timings[yardstick]))
        spread = " … ".join(map(duration, timing.quartiles_us))
        table.add_row(name, duration(timing.median_us), spread, *speed, f"{against:.3f}", _varies(timing))
    notes = [Text(line) for line in explained(found)]
    notes += [Text(f"missing: {name}: {why}", "dim") for name, why in found.missing.items()]
    return Group(table, *notes)


def explained(found: Found) -> Iterator[str]:
    """What each of ours is above its floors, in medians: the floors, and the rest, which is the bridge's own."""
    timings = found.timings
    floors = {name: timings[name].median_us for name in found.floors if name in timings}
    if not floors:
        return
    for name, timing in timings.items():
        if name.startswith("gym-service") and name not in floors:
            parts = " + ".join(f"{duration(us)} {floor}" for floor, us in floors.items())
            rest_us = timing.median_us - sum(floors.values())
            yield f"{name}: {duration(timing.median_us)} = {parts} + {duration(rest_us)} the rest"


def memory_table(memories: list[Memory]) -> Table:
    """Resident MiB as the steps went on."""
    table = _table("resident MiB, by steps")
    table.add_column("")
    for tenths in range(0, 11, 2):
        steps = memories[0].steps
        table.add_column(f"{steps[(len(steps) - 1) * tenths // 10]:,}", justify="right")
    for memory in memories:
        for side, taken in (("client", memory.client_bytes), ("server", memory.server_bytes)):
            samples = [taken[(len(taken) - 1) * tenths // 10] for tenths in range(0, 11, 2)]
            table.add_row(f"{memory.title}, {side}", *(f"{size / 2**20:.1f}" for size in samples))
    return table


def criteria_table(results: list[Judged]) -> Group:
    """One line for each promise, and below them the reasons of those that are neither kept nor broken."""
    table = _table("Targets (medians of the ratios, block by block)")
    table.add_column("")
    for heading in ("ratio", "quartiles", "floor", "must", "aim", "control:\nslowest ÷\nfastest"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in results:
        verdict = Text(one.verdict.value, STYLES[one.verdict])
        verdict.append(", aim met" if one.meets_aim and one.verdict is Verdict.PASS else "")
        spread = " … ".join(f"{value:.3f}" for value in one.quartiles) if one.quartiles else ""
        ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
        varied = "" if one.control_varies is None else f"{one.control_varies:.2f}"
        floor = "" if one.floor is None else f"{one.floor:.3f}"
        table.add_row(one.text, ratio, spread, floor, one.must, one.aim, varied, verdict)
    notes = [Text(f"{one.verdict.value}: {one.text}: {one.because}", "dim") for one in results if one.because]
    return Group(table, *notes)


def machine_line(found: Found | Memory) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.machine.items())


def show(console: Console, found: Found) -> None:
    console.print(workload_table(found))
    console.print(machine_line(found), style="dim")
    console.print()


def duration(us: float) -> str:
    """Microseconds with the digits that mean something; longer ones in milliseconds or seconds."""
    if abs(us) >= 1e6:
        return f"{us / 1e6:.2f} s"
    if abs(us) >= 1e4:
        return f"{us / 1e3:.1f} ms"
    return f"{us:.0f} µs" if abs(us) >= 100 else f"{us:.1f} µs"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)


def _speed_heading(found: Found) -> list[str]:
    return ["env steps/s"] if found.env_steps > 1 else []


def _varies(timing: Timing) -> Text:
    return Text(f"{timing.varies:.2f}", "yellow" if timing.varies > MOST_VARIATION else "")
