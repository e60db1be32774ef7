"""What the guardian costs: the milliseconds of the first spawn, and its memory.

    python benchmarks/guardian_cost.py [--runs 15]

In a fresh client each time: how long the first ``guardian_client.start`` of a trivial program takes, how long the
second, and how long an interpreter takes to start and end by itself with the same options (``-I -S``), which is what a
guardian cannot cost less than. Medians, with the fastest and the slowest; the memory is that of the guardian while it
has one server.

Knows the launcher's guardian. Python 3.10 and up, Linux.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence

CLIENT = """
import json, os, subprocess, sys, time
from pathlib import Path
from gym_service_launcher.processes import guardian_client

def start():
    null = os.open(os.devnull, os.O_RDWR)
    begun = time.perf_counter()
    lifeline = guardian_client.start(["/bin/sleep", "60"], {}, None, [null, null, null], process_id=os.getpid())
    return (time.perf_counter() - begun) * 1000, lifeline

first_ms, first = start()
second_ms, second = start()
guardian = Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[1]
status = dict(line.split(":", 1) for line in Path(f"/proc/{guardian}/status").read_text().splitlines())
rollup = Path(f"/proc/{guardian}/smaps_rollup").read_text().splitlines()
own_kib = sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Clean", "Private_Dirty")))
begun = time.perf_counter()
subprocess.run([sys.executable, "-I", "-S", "-c", ""])
bare_ms = (time.perf_counter() - begun) * 1000
print(json.dumps({
    "first spawn, ms": first_ms,
    "second spawn, ms": second_ms,
    "first less second, ms": first_ms - second_ms,
    "bare interpreter, ms": bare_ms,
    "resident, MiB": int(status["VmRSS"].split()[0]) / 1024,
    "of that its own, MiB": own_kib / 1024,
}))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What the guardian costs.")
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args(arguments).runs
    found = [json.loads(subprocess.check_output([sys.executable, "-c", CLIENT])) for _ in range(runs)]
    print(f"Python {sys.version.split()[0]}, medians of {runs} (fastest to slowest)")
    for name in found[0]:
        values = [run[name] for run in found]
        print(f"{name:24} {statistics.median(values):7.1f}   ({min(values):.1f} to {max(values):.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
