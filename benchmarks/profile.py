"""Where the microseconds of a step go, on both sides.

Knows one env through gym-service, and the sampler, which runs in both processes. Python 3.10 and up.

Both processes are sampled at once, by the clock of the wall, so each side's lines add up to the whole step: what one
side works is what the other one waits for, in the function that reads. A function's time is its own, without that of
the functions it calls, but with that of what it calls in C.
"""

import time
from collections.abc import Mapping, Sequence

import sampler
from rich.console import Console
from rich.table import Table

from benchmarks import simulators
from benchmarks.contenders import opened
from benchmarks.simulators import Simulator
from benchmarks.stepping import stepping
from benchmarks.tables import duration

SIMULATORS = {
    "cartpole": simulators.CARTPOLE,
    "atari": simulators.ATARI,
    "frame": simulators.FRAME,
    "cameras": simulators.CAMERAS,
}
PROFILED_S = 10.0
WARMING_CALLS = 1000
LEAST_SHARE = 0.01

Samples = Mapping[tuple[str, int, str], int]


def show(console: Console, names: Sequence[str], profiled_s: float = PROFILED_S) -> int:
    """Profile these, or CartPole, and show it; the exit code."""
    for name in names or ["cartpole"]:
        if name not in SIMULATORS:
            console.print(f"no profile of {name}: it is one of {', '.join(SIMULATORS)}", style="red")
            return 2
        step_us, sides = profiled(SIMULATORS[name], profiled_s)
        console.print(f"{name}: {duration(step_us)} a step while being profiled", style="bold")
        for side, samples in sides.items():
            console.print(table(side, samples, step_us))
    return 0


def profiled(simulator: Simulator, profiled_s: float) -> tuple[float, dict[str, Samples]]:
    """Microseconds for one step, and the samples of client and server."""
    with opened(simulator) as env:
        step = stepping(env)
        for _ in range(WARMING_CALLS):
            step()
        env.unwrapped.call("sampler:begin")
        sampler.begin()
        calls, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < profiled_s:
            for _ in range(100):
                step()
            calls += 100
        taken_s = time.perf_counter() - begun
        client = sampler.end()
        server = env.unwrapped.call("sampler:end")
    return taken_s / calls * 1e6, {"client": client, "server": server}


def table(side: str, samples: Samples, step_us: float) -> Table:
    table = Table(title=f"{side} ({sum(samples.values()):,} samples)", title_justify="left")
    table.add_column("µs of a step", justify="right")
    table.add_column("share", justify="right")
    table.add_column("in", no_wrap=True)
    total = sum(samples.values()) or 1
    shown = {place: count for place, count in samples.items() if count / total >= LEAST_SHARE}
    for (file, line, function), count in sorted(shown.items(), key=lambda item: -item[1]):
        table.add_row(f"{count / total * step_us:.1f}", f"{count / total:.0%}", f"{file}:{line} {function}")
    rest = (total - sum(shown.values())) / total
    table.add_row(f"{rest * step_us:.1f}", f"{rest:.0%}", f"{len(samples) - len(shown)} others")
    return table
