"""``gym-service list``: the entries of envs.toml, and whether their interpreters work.

Knows entries, the probe and the terminal. Never knows how a server is started: it starts none. Python 3.10 and up.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.envs_file import EnvsFile
from gym_service_launcher.errors import ConfigError, GymServiceError
from gym_service_launcher.interpreters import venvs
from gym_service_launcher.interpreters.diagnosis import diagnose
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.interpreters.venv_spec import spec_of
from gym_service_launcher.servers import local
from gym_service_launcher.servers.attached import attach
from gym_service_launcher.servers.over_command import route_of

State = Literal["usable", "not built", "not tried", "broken"]
COLORS: dict[State, str] = {"usable": "green", "not built": "yellow", "not tried": "yellow", "broken": "red"}

# Probes at the same time. They mostly wait for the disk, so there are more of them than processors.
PROBES = 8
# Seconds to wait for a server at an address: `list` shows which ones listen now.
CONNECT_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Row:
    """One entry: its name, its state, its interpreter or address, and what was found there or is wrong."""

    name: str
    state: State
    where: str
    found: str


def show(file: EnvsFile) -> int:
    """Print the entries of a file and its mistakes, in the order of the file.

    Blocks for about a second: it runs each interpreter. Returns the exit code: 1 if something is broken, else 0.
    """
    with ThreadPoolExecutor(PROBES) as pool:
        rows = list(pool.map(_row, file.entries, file.entries.values()))
    if sys.stdout.isatty():
        _draw(file, rows)
    else:
        _print(file, rows)
    return int(bool(file.problems) or any(row.state == "broken" for row in rows))


def _row(name: str, entry: Entry | ConfigError) -> Row:
    if isinstance(entry, ConfigError):
        return _broken(name, "", str(entry))
    where = entry.address or entry.python or ""
    if entry.is_remote:  # a connection may take seconds, a container may download an image, a job may wait in a queue
        return Row(name, "not tried", route_of(entry).place, "will be run by the first gym.make")
    try:
        return _reached(name, entry) if entry.address else _probed(name, entry)
    except GymServiceError as error:
        return _broken(name, where, str(error))


def _broken(name: str, where: str, problem: str) -> Row:
    return Row(name, "broken", where, problem.partition("\n")[0].removeprefix(f"{where} "))


def _reached(name: str, entry: Entry) -> Row:
    attach(replace(entry, timeouts=replace(entry.timeouts, start=CONNECT_TIMEOUT_S)), lambda line: None).close(0.0)
    return Row(name, "usable", str(entry.address), "a server listens")


def _probed(name: str, entry: Entry) -> Row:
    assert entry.python, "an entry has an interpreter or an address"
    if not entry.builds_venv:
        executable: Path | None = find_interpreter(entry.python, entry.folder)
    else:
        executable = venvs.find_built(entry)
    if executable is None:
        spec = spec_of(entry)
        wanted = f"Python {entry.python} with {spec.contents if spec else ''}"
        return Row(name, "not built", wanted, "gym-service sync or gym.make builds it")
    report = diagnose(executable, local.environment(entry, executable))
    if report.problem:
        return _broken(name, str(executable), report.problem)
    versions = {"Python": report.version, "gymnasium": report.gymnasium, "gym": report.gym, "numpy": report.numpy}
    return Row(
        name, "usable", str(executable), ", ".join(f"{what} {which}" for what, which in versions.items() if which)
    )


def _problems(file: EnvsFile) -> list[str]:
    """The first lines of the mistakes outside of entries."""
    return [str(problem).partition("\n")[0] for problem in file.problems if problem not in file.entries.values()]


def _print(file: EnvsFile, rows: list[Row]) -> None:
    print(file.path)
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        print("  ".join(filter(None, (row.name.ljust(width), row.state.ljust(9), row.where, row.found))))
    for problem in _problems(file):
        print(problem)


def _draw(file: EnvsFile, rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=str(file.path), title_justify="left", box=None, pad_edge=False)
    for heading in ("env", "", "interpreter", "found"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        # As Text, because rich must not read markup in what the user wrote.
        table.add_row(Text(row.name), Text(row.state, COLORS[row.state]), Text(row.where), Text(row.found))
    console = Console()
    console.print(table)
    for problem in _problems(file):
        console.print(Text(problem, "red"))
