"""What a step of many CartPoles costs, each way, in one interleaved run.

python project.py bench vector     the tables in the terminal; outputs/vector.json
"""

import json
from contextlib import ExitStack
from pathlib import Path

from contenders import async_vectors, remote_vector, sync_vector
from interleaved import Timing, ratio, time_in_turn
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

OUTPUTS = Path(__file__).parent.parent / "outputs"
BLOCKS = 30
ENV_ID = "CartPole-v1"
NUMBERS = (8, 32)
SYNC, ASYNC = "SyncVectorEnv", "AsyncVectorEnv"


def main() -> None:
    """Run and show."""
    console = Console()
    found = {num_envs: timings_of(num_envs, console) for num_envs in NUMBERS}
    for num_envs, timings in found.items():
        console.print(table(num_envs, timings))
    OUTPUTS.mkdir(exist_ok=True)
    blocks = {num_envs: {name: timing.blocks_us for name, timing in one.items()} for num_envs, one in found.items()}
    (OUTPUTS / "vector.json").write_text(json.dumps(blocks))


def timings_of(num_envs: int, console: Console) -> dict[str, Timing]:
    """The ways to step so many envs, block by block in turn."""
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        contenders = {
            SYNC: stack.enter_context(sync_vector(ENV_ID, num_envs)),
            "gym-service, 1 worker": stack.enter_context(remote_vector(ENV_ID, num_envs, 1)),
            "gym-service, 2 workers": stack.enter_context(remote_vector(ENV_ID, num_envs, 2)),
            ASYNC: stack.enter_context(async_vectors(ENV_ID, num_envs)),
        }
        task = progress.add_task(f"{num_envs} envs, blocks in turn", total=BLOCKS)
        return time_in_turn(contenders, blocks=BLOCKS, progress=lambda block: progress.update(task, completed=block))


def table(num_envs: int, timings: dict[str, Timing]) -> Table:
    """Medians, and the env steps per second against Gymnasium's two, block by block."""
    shown = Table(title=f"{num_envs} × {ENV_ID}, one step ({BLOCKS} blocks each, in turn)", title_justify="left")
    shown.add_column("", no_wrap=True)
    for heading in ("median µs", "env steps/s", f"speed ÷ {SYNC}", f"speed ÷ {ASYNC}", "varies"):
        shown.add_column(heading, justify="right")
    for name, timing in timings.items():
        speed = f"{num_envs / timing.median_us * 1e6:,.0f}"
        against = [f"{ratio(timings, other, name):.2f}" for other in (SYNC, ASYNC)]
        shown.add_row(name, f"{timing.median_us:.0f}", speed, *against, f"{timing.varies:.1f}")
    return shown


if __name__ == "__main__":
    main()
