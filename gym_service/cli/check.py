"""``gym-service check``: tries out entries of envs.toml, and says what is wrong and what to do.

Knows how rows are printed and which exit code they give. Never knows what is checked (``testing/entry_check.py``) nor
the causes of failures. Python 3.10 and up.
"""

import argparse
import json
import logging
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from gym_service_launcher.config import envs_file, lock
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.envs_file import EnvsFile
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters.venv_spec import spec_of

from gym_service.cli import check_log
from gym_service.cli.lock import hash_or_reason, play_digest
from gym_service.testing.entry_check import Row, failed_row, rows_of
from gym_service.testing.locked_play import LockedPlay
from gym_service.traces import parity_hash

MARKS = {"passed": "✓", "failed": "✗", "warned": "!", "skipped": "-"}
ASCII_MARKS = {"passed": "ok", "failed": "FAILED", "warned": "!", "skipped": "-"}
COLORS = {"passed": "32", "failed": "31", "warned": "33", "skipped": "33"}
LABEL_COLUMNS = 13
# Where a column would be narrower than this, lines are not wrapped.
NARROWEST_COLUMNS = 30


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns the exit code: 1 if anything has a cross."""
    file = envs_file.load(arguments.envs or envs_file.find_or_fail())
    names = _chosen(file, arguments.names)
    problems = [str(problem) for problem in envs_file.problems_outside_entries(file)]
    if not arguments.json:
        print(file.path, flush=True)
    logging.getLogger("gym_service").setLevel(logging.WARNING)  # a row says what was waited for
    warnings.simplefilter("ignore")  # those of the simulator and of Gymnasium: rows say what matters
    checked = []
    for name in names:
        begin = time.monotonic()
        if not arguments.json:
            print(f"\n{name}", flush=True)
        rows = list(_shown(_rows(file, name), is_quiet=arguments.json))
        is_ok = all(row.outcome != "failed" for row in rows)
        check_log.write(file, name, is_ok)
        checked.append(
            {
                "name": name,
                "ok": is_ok,
                "seconds": round(time.monotonic() - begin, 2),
                "rows": [{key: value for key, value in vars(row).items() if value} for row in rows],
            }
        )
    if arguments.json:
        unused = envs_file.unused_interpreters(file)
        document = {"file": str(file.path), "entries": checked, "problems": problems, "unused": unused}
        print(json.dumps(document, indent=1))
    else:
        _print_end(checked, [*problems, *envs_file.unused_interpreters(file)], is_file_ok=not problems)
    return int(bool(problems) or not all(one["ok"] for one in checked))


def _chosen(file: EnvsFile, names: Sequence[str]) -> list[str]:
    """The names of the entries to check, without the namespace of gym.make. Raises ConfigError for an unknown one."""
    chosen = [name.removeprefix("gym_service/") for name in names] or list(file.entries)
    for name in chosen:
        if name not in file.entries:
            raise envs_file.unknown_entry(file, name)
    return chosen


def _rows(file: EnvsFile, name: str) -> Iterator[Row]:
    entry = file.entries[name]
    if isinstance(entry, ConfigError):
        yield failed_row("envs.toml", entry)
        return
    locked = None
    try:
        locked = _locked_play(file, entry)
    except ConfigError as error:
        yield failed_row("envs.lock", error)
    yield from rows_of(entry, lambda line: print(line, file=sys.stderr, flush=True), locked)


def _locked_play(file: EnvsFile, entry: Entry) -> LockedPlay | None:
    """What envs.lock has for the entry, if the entry is still as it was locked."""
    found = lock.read(lock.path_of(file.path))
    locked = found.envs.get(entry.name) if found else None
    if found is None or locked is None or locked.recipe != play_digest(entry):
        return None
    spec = spec_of(entry)
    if spec is not None and not found.venv_for(spec.digest):
        return None
    return LockedPlay(locked.hash, locked.no_hash, lambda env: hash_or_reason(partial(parity_hash, env)))


def _shown(rows: Iterator[Row], *, is_quiet: bool) -> Iterator[Row]:
    for row in rows:
        if not is_quiet:
            print("\n".join(_lines(row)), flush=True)
        yield row


def _lines(row: Row) -> Iterator[str]:
    """A row as lines: the cause, the error, its evidence, and what to try. Wrapped on a terminal only."""
    parts = [*([row.cause] if row.cause else []), row.text, *row.evidence]
    parts += [f"try: {row.advice}"] if row.advice else []
    mark = _mark(row.outcome)
    indent = " " * (LABEL_COLUMNS + 4 + (0 if _has_symbols() else 5))
    for number, part in enumerate(parts):
        head = f"  {mark} {row.check.ljust(LABEL_COLUMNS)}" if number == 0 else indent
        wrapped = _wrapped(part, len(indent))
        yield head + wrapped[0]
        yield from (indent + line for line in wrapped[1:])


def _mark(outcome: str) -> str:
    if not _has_symbols():
        return ASCII_MARKS[outcome].ljust(6)
    return f"\33[{COLORS[outcome]}m{MARKS[outcome]}\33[0m" if _has_colors() else MARKS[outcome]


def _has_symbols() -> bool:
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _has_colors() -> bool:
    import os

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _wrapped(text: str, indent_columns: int) -> list[str]:
    text = " ".join(text.split())
    columns = shutil.get_terminal_size().columns - indent_columns
    if not sys.stdout.isatty() or columns < NARROWEST_COLUMNS:
        return [text]
    return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False) or [""]


def _print_end(checked: Sequence[dict[str, Any]], notes: Sequence[str], *, is_file_ok: bool) -> None:
    print()
    for note in notes:
        print(note)
    if not checked:
        print("there is no entry\n  try: gym-service add --venv ./sim_env")
        return
    failed = [*([] if is_file_ok else ["the file itself"]), *(one["name"] for one in checked if not one["ok"])]
    seconds = sum(one["seconds"] for one in checked)
    count = f"{len(checked)} {'entry' if len(checked) == 1 else 'entries'}"
    outcome = f"not in order: {', '.join(failed)}" if failed else "all in order"
    print(f"{count} in {seconds:.0f} s: {outcome}")
