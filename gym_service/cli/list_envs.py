"""``gym-service list``: the entries of envs.toml, whether their interpreters are there, and when each was checked.

Knows entries, the probe and the terminal. Never knows how a server is started: it starts none. Python 3.10 and up.

``found`` says that the interpreter runs and has numpy and gym. Whether an env can be made is the question of
``gym-service check``, which takes seconds for each entry where this takes a second for all of them.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.envs_file import EnvsFile
from gym_service_launcher.errors import ConfigError, GymServiceError
from gym_service_launcher.interpreters import venvs
from gym_service_launcher.interpreters.diagnosis import diagnose
from gym_service_launcher.interpreters.environment import environment_of
from gym_service_launcher.interpreters.evidence import repair_of
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.interpreters.venv_spec import spec_of

from gym_service.cli import check_log
from gym_service.cli.ps import age

State = Literal["found", "not built", "not tried", "broken"]
COLORS: dict[State, str] = {"found": "", "not built": "yellow", "not tried": "yellow", "broken": "red"}

# Probes at the same time. They mostly wait for the disk, so there are more of them than processors.
PROBES = 8
# Seconds to wait for a server at an address: `list` shows which ones listen now.
CONNECT_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Row:
    """One entry: its name, its state, its interpreter or address, and what was found there or is wrong.

    ``advice`` is what to try. ``checked`` is how many seconds ago it was checked, and whether it was in order.
    """

    name: str
    state: State
    where: str
    found: str
    advice: str = ""
    checked: tuple[float, bool] | None = None

    @property
    def last_check(self) -> str:
        """When it was last checked, for people."""
        if self.checked is None:
            return ""
        return f"checked {age(self.checked[0])} ago: {'in order' if self.checked[1] else 'not in order'}"


def show(file: EnvsFile, *, as_json: bool = False) -> int:
    """Print the entries of a file and its mistakes, in the order of the file.

    Blocks for about a second: it runs each interpreter. Returns the exit code: 1 if something is broken, else 0.
    """
    with ThreadPoolExecutor(PROBES) as pool:
        rows = list(pool.map(_row, file.entries, file.entries.values()))
    # The title says which file it is.
    rows = [replace(row, found=row.found.removeprefix(f"{file.path}: ")) for row in rows]
    rows = [replace(row, checked=check_log.last(file, row.name)) for row in rows]
    problems = [str(problem) for problem in envs_file.problems_outside_entries(file)]
    notes = [*problems, *envs_file.unused_interpreters(file)]
    if as_json:
        data = {"file": str(file.path), "entries": [_data(row) for row in rows], "problems": problems}
        print(json.dumps({**data, "unused": envs_file.unused_interpreters(file)}, indent=1))
    elif sys.stdout.isatty():
        _draw(file, rows, notes)
    else:
        _print(file, rows, notes)
    return int(bool(problems) or any(row.state == "broken" for row in rows))


def _data(row: Row) -> dict[str, Any]:
    data = {key: value for key, value in vars(row).items() if key != "checked"}
    checked = row.checked and {"seconds_ago": round(row.checked[0], 1), "ok": row.checked[1]}
    return {**data, "checked": checked or None}


def _row(name: str, entry: Entry | ConfigError) -> Row:
    if isinstance(entry, ConfigError):
        return _broken(name, "", str(entry))
    where = entry.address or entry.python or ""
    if entry.is_remote:  # a connection may take seconds, a container may download an image, a job may wait in a queue
        from gym_service_launcher.servers.over_command import route_of

        return Row(name, "not tried", route_of(entry).place, "will be run by the first gym.make")
    try:
        return _reached(name, entry) if entry.address else _probed(name, entry)
    except GymServiceError as error:
        return _broken(name, where, str(error))


def _broken(name: str, where: str, problem: str) -> Row:
    what, _, advice = problem.partition("\n  try: ")
    first, _, more = what.removeprefix(f"{where} ").partition(":\n")
    # Below a line that ends in a colon stands a list, such as that of the places that were searched.
    listed = "; ".join(line.strip() for line in more.splitlines() if line.strip())
    found = f"{first}: {listed}" if listed else first
    return Row(name, "broken", where, " ".join(found.split()), advice)


def _reached(name: str, entry: Entry) -> Row:
    from gym_service_launcher.servers.attached import attach

    attach(replace(entry, timeouts=replace(entry.timeouts, start=CONNECT_TIMEOUT_S)), lambda line: None).close(0.0)
    return Row(name, "found", str(entry.address), "a server listens")


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
    environment = environment_of(entry, executable)
    report = diagnose(executable, environment.variables, is_quick=True, words=environment.words)
    if report.problem:
        return replace(_broken(name, str(executable), report.problem), advice=repair_of(entry, report))
    versions = {"Python": report.version, "gymnasium": report.gymnasium, "gym": report.gym, "numpy": report.numpy}
    return Row(
        name, "found", str(executable), ", ".join(f"{what} {which}" for what, which in versions.items() if which)
    )


def _print(file: EnvsFile, rows: Sequence[Row], notes: Sequence[str]) -> None:
    print(file.path)
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        cells = (row.name.ljust(width), row.state.ljust(9), row.where, row.found, row.last_check)
        print("  ".join(filter(None, cells)))
        if row.advice:
            print(f"{' ' * width}  try: {row.advice}")
    for note in notes:
        print(note)
    if not rows:
        print("there is no entry\n  try: gym-service add --venv ./sim_env")


def _short(where: str, file: EnvsFile) -> str:
    """A path for a narrow column: from the folder of the file, or from the user's home."""
    for folder, mark in ((f"{file.path.parent}/", "./"), (f"{Path.home()}/", "~/")):
        if where.startswith(folder):
            return mark + where.removeprefix(folder)
    return where


def _draw(file: EnvsFile, rows: Sequence[Row], notes: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=str(file.path), title_justify="left", box=None, pad_edge=False)
    for heading in ("env", "", "interpreter", "found", "last check"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        # As Text, because rich must not read markup in what the user wrote.
        color = "green" if row.state == "found" and row.checked and row.checked[1] else COLORS[row.state]
        found = Text(row.found)
        if row.advice:
            found.append(f"\ntry: {row.advice}")
        last = row.last_check.removeprefix("checked ").replace(" ago: ", " ago\n")
        table.add_row(Text(row.name), Text(row.state, color), Text(_short(row.where, file)), found, Text(last))
    console = Console()
    console.print(table)
    for note in notes:
        console.print(Text(note, "red"))
    if not rows:
        console.print("there is no entry\n  try: gym-service add --venv ./sim_env")
