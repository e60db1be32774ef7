"""What a run has found, and the file that keeps it: one record for each workload, the newest.

Knows JSON and this machine's names. Never knows how anything is shown. Python 3.10 and up.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.interleaved import Timing

OUTPUTS = Path(__file__).absolute().parent.parent / "outputs"
FILE, PICTURE = "benchmarks.json", "benchmarks.png"


@dataclass(frozen=True)
class Found:
    """One workload: every block of every contender, in the order in which they were taken, and where and when."""

    title: str
    env_steps: int
    floors: tuple[str, ...]
    blocks_us: Mapping[str, tuple[float, ...]]
    missing: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def timings(self) -> dict[str, Timing]:
        return {name: Timing(tuple(blocks_us)) for name, blocks_us in self.blocks_us.items()}

    @property
    def blocks(self) -> int:
        return len(next(iter(self.blocks_us.values()), ()))


@dataclass(frozen=True)
class Memory:
    """Resident bytes of client and server, after so many steps each."""

    title: str
    steps: tuple[int, ...]
    client_bytes: tuple[int, ...]
    server_bytes: tuple[int, ...]
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def growth_bytes(self) -> int:
        """What the worse of the two has gained since the first tenth, in which everything is used for the first time.

        The least of the last half against the least since the first tenth: what comes and goes is no growth.
        """
        tenth, half = len(self.steps) // 10, len(self.steps) // 2
        return max(min(taken[half:]) - min(taken[tenth:half]) for taken in (self.client_bytes, self.server_bytes))


@dataclass(frozen=True)
class Record:
    """All that is known, by the names of workloads."""

    found: dict[str, Found] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)


def read(file: Path) -> Record:
    """What the file has; nothing where there is none."""
    if not file.exists():
        return Record()
    data = json.loads(file.read_text())
    return Record(
        {name: Found(**one) for name, one in data["found"].items()},
        {name: Memory(**one) for name, one in data["memory"].items()},
    )


def write(record: Record, verdicts: list[dict[str, Any]], file: Path) -> None:
    """Keep it, with what was made of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".new")
    written.write_text(json.dumps({**asdict(record), "criteria": verdicts}, indent=1))
    written.replace(file)


def machine() -> dict[str, str]:
    """Where and when: what a figure means nothing without."""
    return {
        "taken": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "kernel": platform.release(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "gymnasium", "gym-service")},
        "commit": _commit(),
    }


def _commit() -> str:
    """What was measured; with a mark where files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        ran = subprocess.run(command, cwd=OUTPUTS.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return ran.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
