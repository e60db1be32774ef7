"""What a step costs, each way, in one interleaved run.

python project.py bench            the table in the terminal; outputs/benchmarks.json
"""

import json
import platform
from contextlib import ExitStack
from pathlib import Path

import gymnasium as gym
import numpy as np
from contenders import async_vector, in_process, ping_pong, remote
from interleaved import Timing, ratio, time_in_turn
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

OUTPUTS = Path(__file__).parent.parent / "outputs"
BLOCKS = 40
YARDSTICK = "AsyncVectorEnv, one env"


def main() -> None:
    """Run and show."""
    console = Console()
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        contenders = {
            "in-process": stack.enter_context(in_process("CartPole-v1")),
            "gym-service, unix": stack.enter_context(remote("CartPole-v1", "unix")),
            "gym-service, stdio": stack.enter_context(remote("CartPole-v1", "stdio")),
            YARDSTICK: stack.enter_context(async_vector("CartPole-v1")),
            "64 bytes over a socketpair": stack.enter_context(ping_pong()),
        }
        task = progress.add_task("blocks, in turn", total=BLOCKS)
        timings = time_in_turn(contenders, blocks=BLOCKS, progress=lambda block: progress.update(task, completed=block))
    console.print(table("CartPole-v1, one step", timings))
    OUTPUTS.mkdir(exist_ok=True)
    (OUTPUTS / "benchmarks.json").write_text(json.dumps({name: timing.blocks_us for name, timing in timings.items()}))


def table(title: str, timings: dict[str, Timing]) -> Table:
    """Medians, spread, and the ratio to the yardstick, block by block."""
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, gymnasium {gym.__version__}"
    shown = Table(title=f"{title} ({BLOCKS} blocks each, in turn; {versions})", title_justify="left")
    shown.add_column("")
    for heading in ("median µs", "quartiles µs", f"÷ {YARDSTICK}", "varies"):
        shown.add_column(heading, justify="right")
    for name, timing in timings.items():
        low, high = timing.spread_us
        against = ratio(timings, name, YARDSTICK)
        shown.add_row(
            name, f"{timing.median_us:.1f}", f"{low:.1f} to {high:.1f}", f"{against:.2f}", f"{timing.varies:.1f}"
        )
    return shown


if __name__ == "__main__":
    main()
