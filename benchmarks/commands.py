"""How long ``gym-service --help`` and ``list`` take, as ratios to ``python -c pass``.

    python -m benchmarks.commands [--blocks 20] [--python PATH …]

The three are run in turn, each in every round; a ratio is that of one round, so what slows the machine slows both. The
list is of 8 entries, spread over the interpreters that --python names (default: this one). Knows the command line of
gym-service. Python 3.10 and up.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.interleaved import quartiles, ratios, repeated, time_in_turn

ENTRIES = 8
PASS, HELP, LIST = "python -c pass", "gym-service --help", f"gym-service list, {ENTRIES} entries"
# The promises, as ratios to PASS.
BOUNDS = {HELP: 8.0, LIST: 25.0}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; exit code 1 if a median ratio is above its bound."""
    parser = argparse.ArgumentParser(description="How long gym-service --help and list take.")
    parser.add_argument("--blocks", type=int, default=20, help="rounds")
    parser.add_argument("--python", action="append", metavar="PATH", help="an interpreter of the list")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "envs.toml"
        pythons = arguments.python or [sys.executable]
        file.write_text("".join(f'[envs."E{n}-v0"]\npython = "{pythons[n % len(pythons)]}"\n' for n in range(ENTRIES)))
        ours = [sys.executable, "-m", "gym_service"]
        contenders = {
            PASS: repeated(_run([sys.executable, "-c", "pass"])),
            HELP: repeated(_run([*ours, "--help"])),
            LIST: repeated(_run([*ours, "list", "--envs", str(file)])),
        }
        timed = time_in_turn(contenders, blocks=arguments.blocks, block_s=0.0)
    table = Table("command", "median", "ratio", "quartiles", "bound", box=None)
    holds = True
    for name, timing in timed.items():
        each = ratios(timing, timed[PASS])
        ratio, (low, high) = statistics.median(each), quartiles(each)
        bound = BOUNDS.get(name)
        holds &= bound is None or ratio <= bound
        median_ms = statistics.median(timing.blocks_us) / 1e3
        table.add_row(
            name, f"{median_ms:.0f} ms", f"{ratio:.1f}", f"{low:.1f} to {high:.1f}", f"{bound:g}" if bound else ""
        )
    Console().print(table)
    return int(not holds)


def _run(argv: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    sys.exit(main())
