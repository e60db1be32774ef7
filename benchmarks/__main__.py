"""The command: runs workloads, and shows all that is known.

Knows arguments and a terminal. Python 3.10 and up.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import criteria, memory, plot, profile, record, running, tables
from benchmarks.workloads import WORKLOADS
from gym_service.errors import GymServiceError

MEMORY, PROFILE = "memory", "profile"
# Where nobody says how wide the screen is.
FILE_WIDTH = 130
ABOUT = """\
What a step costs, each way: in blocks, in turn, none dropped. Tables here; outputs/benchmarks.json with every block;
outputs/benchmarks.png. A record keeps the newest run of each workload, so they may be run one by one.
"""
EXAMPLES = f"""\
workloads: {", ".join(WORKLOADS)}; all of them without a name.
{MEMORY} takes {memory.STEPS:,} steps and some minutes; {PROFILE} says where the microseconds of a step go.

examples:
  python3 project.py bench                       everything but {MEMORY} and {PROFILE}: a quarter of an hour
  python3 project.py bench frame cameras         these two
  python3 project.py bench cartpole --blocks 5   whether it works
  python3 project.py bench {MEMORY}
  python3 project.py bench {PROFILE} frame          of one workload with one env: cartpole, atari, frame, cameras
  python3 project.py bench --show                the newest tables again, from the file
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` and return its exit code: 0 whatever the figures say."""
    arguments = _parser().parse_args(words)
    try:
        return _obey(arguments)
    except (GymServiceError, running.Different) as error:
        print(f"project.py bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _obey(arguments: argparse.Namespace) -> int:
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    if PROFILE in arguments.names:
        return profile.show(console, [name for name in arguments.names if name != PROFILE])
    known = record.read(arguments.outputs / record.FILE)
    if not arguments.show:
        for name in arguments.names or WORKLOADS:
            _run(name, arguments, known, console)
            record.write(known, [one.to_data() for one in criteria.judged(known)], arguments.outputs / record.FILE)
    else:
        for found in known.found.values():
            tables.show(console, found)
    _show_all(known, arguments.outputs, console)
    return 0


def _run(name: str, arguments: argparse.Namespace, known: record.Record, console: Console) -> None:
    with _progress(console) as progress:
        if name == MEMORY:
            for key, (title, simulator) in memory.SIMULATORS.items():
                task = progress.add_task(f"memory, {title}: steps", total=arguments.steps)
                known.memory[key] = memory.measured(
                    title,
                    simulator,
                    arguments.steps,
                    lambda done, task=task: progress.update(task, completed=done, refresh=True),
                )
            return
        task = progress.add_task(f"{name}: getting ready", total=arguments.blocks)
        known.found[name] = running.run(
            WORKLOADS[name](),
            blocks=arguments.blocks,
            block_s=arguments.block_ms / 1000,
            progress=lambda block: progress.update(
                task, completed=block, description=f"{name}: blocks of each", refresh=True
            ),
        )
    tables.show(console, known.found[name])


def _show_all(known: record.Record, outputs: Path, console: Console) -> None:
    if known.memory:
        console.print(tables.memory_table(list(known.memory.values())))
        console.print()
    results = criteria.judged(known)
    console.print(tables.criteria_table(results))
    plot.draw(list(known.found.values()), results, outputs / record.PICTURE)
    console.print(f"Every block: {outputs / record.FILE}\nAs a picture: {outputs / record.PICTURE}", style="dim")


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Drawn between blocks only: no thread beside the calls that are timed.
    return Progress(*columns, console=console, transient=True, auto_refresh=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="project.py bench",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="workload", type=_name, help="which; default: all")
    parser.add_argument("--blocks", type=_positive, default=criteria.LEAST_BLOCKS, help="of each (default 30)")
    parser.add_argument("--block-ms", type=float, default=50.0, help="how long a block is (default 50); 0: one call")
    parser.add_argument("--steps", type=_positive, default=memory.STEPS, help=f"of {MEMORY} (default 1,000,000)")
    parser.add_argument("--outputs", type=Path, default=record.OUTPUTS, help="a folder (default ./outputs)")
    parser.add_argument("--show", action="store_true", help="run nothing; show the newest record")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _name(text: str) -> str:
    names = [*WORKLOADS, MEMORY, PROFILE]
    if text not in names:
        raise argparse.ArgumentTypeError(f"there is no workload {text!r}: it is one of {', '.join(names)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
