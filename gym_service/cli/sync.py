"""``gym-service sync``: builds the venvs that envs.toml asks for.

Knows entries, interpreter tables, the lock and how progress is shown. Never knows how a venv is built, and makes no
env. Python 3.10 and up.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gym_service_launcher import spelling
from gym_service_launcher.config import envs_file, lock
from gym_service_launcher.config.entry import Entry, Interpreter
from gym_service_launcher.config.envs_file import EnvsFile
from gym_service_launcher.config.lock import LockedVenv, LockFile
from gym_service_launcher.errors import ConfigError, GymServiceError
from gym_service_launcher.interpreters import venvs
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.interpreters.venv_spec import VenvSpec, spec_of, spec_of_interpreter
from gym_service_launcher.processes import pidfiles
from gym_service_launcher.servers import remote_venv
from gym_service_launcher.standalone.installed_packages import changes

from gym_service.cli.build_progress import progress_of
from gym_service.cli.tables import print_columns

# Each build is an installer that downloads with several threads of its own.
MOST_AT_ONCE = 8
# How an interpreter table is called in what is printed.
TABLE = "[interpreters."


@dataclass
class Build:
    """One venv that is wanted, by one or several entries and tables, and what became of it."""

    names: list[str]
    entry: Entry | None
    spec: VenvSpec
    locked: LockedVenv | None = None
    venv: venvs.Venv | None = None
    error: GymServiceError | None = None
    took_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The names, cut to a readable length."""
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return self.names[0] + more

    @property
    def state(self) -> str:
        if self.error:
            return "failed"
        return "built" if self.venv and self.venv.state == "built" else "up to date"


@dataclass(frozen=True)
class Row:
    """One line of what is printed at last."""

    name: str
    state: str
    where: str


def sync(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code."""
    file = envs_file.load(arguments.envs or envs_file.find_or_fail())
    found = lock.read(lock.path_of(file.path))
    if arguments.locked and found is None:
        text = f"{lock.path_of(file.path)} does not exist, and --locked needs it\n  try: gym-service lock"
        raise ConfigError(text, file=str(file.path), key="")
    rows, builds = plan(file, arguments.names)
    for build in builds:
        _lock_in(build, found, is_strict=arguments.locked)
    jobs = arguments.jobs or min(os.cpu_count() or 1, MOST_AT_ONCE)
    run(builds, jobs, rebuild=arguments.rebuild, file=file.path)
    show(file, rows, builds)
    is_different = arguments.locked and any(build.notes for build in builds if not _only_about_system(build))
    return int(is_different or any(build.error for build in builds) or any(row.state == "failed" for row in rows))


def plan(file: EnvsFile, names: Sequence[str]) -> tuple[list[Row], list[Build]]:
    """What is to be built, each venv once; and a row for each name that has nothing to build.

    Raises:
        ConfigError: the file has no such name.
    """
    rows: list[Row] = []
    builds: dict[tuple[str, str], Build] = {}
    for name, what in _chosen(file, names).items():
        try:
            if isinstance(what, ConfigError):
                raise what
            entry, spec = _spec_of(name, what, file)
        except GymServiceError as error:
            rows.append(Row(name, "failed", str(error)))
            continue
        if spec is None:
            rows.append(_nothing_to_build(name, what))
            continue
        place = (" ".join(entry.command) or str(entry.python)) if entry and entry.is_remote else ""
        build = builds.setdefault((place, spec.folder_name(None)), Build([], entry, spec))
        build.names.append(name)
    return rows, list(builds.values())


def _chosen(file: EnvsFile, names: Sequence[str]) -> dict[str, Entry | Interpreter | ConfigError]:
    """The entries and the interpreter tables that are meant, by what they are called in what is printed."""
    tables = {f"{TABLE}{name}]": table for name, table in file.interpreters.items()}
    if not names:
        used = {entry.interpreter for entry in file.entries.values() if isinstance(entry, Entry)}
        return {**file.entries, **{name: tables[name] for name in tables if name[len(TABLE) : -1] not in used}}
    chosen: dict[str, Entry | Interpreter | ConfigError] = {}
    for name in names:
        key = name.removeprefix("gym_service/")
        if key in file.entries:
            chosen[key] = file.entries[key]
        elif f"{TABLE}{key}]" in tables:
            chosen[f"{TABLE}{key}]"] = tables[f"{TABLE}{key}]"]
        else:
            raise _unknown(file, name)
    return chosen


def _unknown(file: EnvsFile, name: str) -> ConfigError:
    known = [*file.entries, *file.interpreters]
    hint = spelling.suggestion(name, known) or (spelling.listed(known) if known else "it has none")
    return ConfigError(f"{file.path}: there is no entry or interpreter {name!r}; {hint}", file=str(file.path), key="")


def _spec_of(name: str, what: Entry | Interpreter, file: EnvsFile) -> tuple[Entry | None, VenvSpec | None]:
    if isinstance(what, Entry):
        return what, spec_of(what)
    return None, spec_of_interpreter(name[len(TABLE) : -1], what, file.path)


def _nothing_to_build(name: str, what: "Entry | Interpreter") -> Row:
    """The row of an interpreter that is used as it is, or is elsewhere."""
    if isinstance(what, Entry) and what.address:
        return Row(name, "nothing", f"a server is attached to at {what.address}")
    if isinstance(what, Entry) and what.is_remote:
        return Row(name, "nothing", "the interpreter is on the remote side")
    folder = what.folder if isinstance(what, Entry) else Path.cwd()
    try:
        return Row(name, "as it is", str(find_interpreter(str(what.python), folder)))
    except GymServiceError as error:
        return Row(name, "failed", str(error))


def _lock_in(build: Build, found: LockFile | None, *, is_strict: bool) -> None:
    """Have a build obey the lock, if that is about this venv."""
    build.locked = found.venv_for(build.spec.digest) if found else None
    if build.locked is None and is_strict:
        text = f"envs.lock has no versions for {build.spec.whose} as it stands in envs.toml\n  try: gym-service lock"
        build.error = ConfigError(text, file=None, key="")
    elif build.locked is None and found and any(name in found.envs and found.envs[name].venv for name in build.names):
        build.notes.append("envs.lock is about an earlier envs.toml and was not obeyed (try: gym-service lock)")


def run(builds: Iterable[Build], jobs: int, *, rebuild: bool, file: Path) -> None:
    """Build all of them, so many at once. Blocks until all are done; a Ctrl-C ends and removes what is not."""
    waiting = [build for build in builds if not build.error]
    watched, ours = os.pipe()
    pool = ThreadPoolExecutor(max(1, min(jobs, len(waiting))))
    try:
        with progress_of([build.title for build in waiting]) as progress:
            futures: list[Future[None]] = []
            for build in waiting:
                wanted = venvs.Wanted(
                    build.locked,
                    rebuild=rebuild,
                    inspect=True,
                    asked_by=tuple((str(file), name) for name in build.names),
                    watched=(watched,),
                )
                futures.append(pool.submit(_run_one, build, wanted, progress.teller(build.title)))
            for future in futures:
                future.result()
    finally:
        # Builds that still run notice that the other end is closed, and stop.
        os.close(ours)
        pool.shutdown(cancel_futures=True)
        os.close(watched)


def _run_one(build: Build, wanted: venvs.Wanted, teller: venvs.Progress) -> None:
    begin = time.monotonic()
    try:
        if build.entry and build.entry.is_remote:
            build.venv = remote_venv.provide(build.entry, wanted, teller)
        else:
            if wanted.rebuild:
                _refuse_in_use(build)
            build.venv = venvs.provide(build.spec, wanted, teller)
    except GymServiceError as error:
        build.error = error
    else:
        build.notes += _differences(build)
        build.notes += _missing_packages(build)
    build.took_s = time.monotonic() - begin
    teller(f"{build.state} in {build.took_s:.1f} s")


def _refuse_in_use(build: Build) -> None:
    """Raise if a server runs in the venv that is to be built again."""
    folder = venvs.cache_folder() / build.spec.folder_name(build.locked)
    users = pidfiles.servers_in(folder)
    if users:
        text = f"the venv of {build.spec.whose} is in use by process {', '.join(str(user.pid) for user in users)}"
        raise GymServiceError(f"{text}\n  try: gym-service stop {users[0].name}")


def _differences(build: Build) -> list[str]:
    """What of the venv is not what was locked, or built, with both versions."""
    assert build.venv
    if build.locked is None:
        found = [difference(name, "built", *pair) for name, pair in build.venv.changed_by_hand.items()]
    else:
        versions = {name: package.version for name, package in build.locked.packages.items()}
        changed = changes({"Python": build.locked.python}, {"Python": build.venv.version})
        changed |= changes(versions, dict(build.venv.packages))
        found = [difference(name, "locked", *pair) for name, pair in changed.items()]
    name = build.names[0].removeprefix(TABLE).removesuffix("]")
    return [f"{text} (try: gym-service sync --rebuild {name})" for text in found]


def difference(name: str, when: str, before: str | None, now: str | None) -> str:
    """What was changed, with both versions."""
    return f"{name} is {now or 'not installed'}; {when} was {before or 'none'}"


def _missing_packages(build: Build) -> list[str]:
    assert build.venv
    missing = build.venv.missing_packages
    if missing is None:
        return [f"{SYSTEM}: dpkg cannot be asked whether {', '.join(build.spec.keys.system_packages)} are installed"]
    return (
        [f"{SYSTEM}: not installed: {', '.join(missing)} (try: apt-get install {' '.join(missing)})"] if missing else []
    )


SYSTEM = "system_packages"


def _only_about_system(build: Build) -> bool:
    return all(note.startswith(SYSTEM) for note in build.notes)


def show(file: EnvsFile, rows: list[Row], builds: list[Build]) -> None:
    """Print a line for each name, what differs below it, and each error once."""
    print(file.path)
    lines = {row.name: (row.state, row.where if row.state != "failed" else "") for row in rows}
    for build in builds:
        where = str(build.venv.python.parent.parent) if build.venv else ""
        lines |= dict.fromkeys(build.names, (build.state, where))
    in_order = dict.fromkeys(name for name in (*file.entries, *lines) if name in lines)
    print_columns([(name, *lines[name]) for name in in_order])
    for build in builds:
        for note in build.notes:
            print(f"{build.title}: {note}")
    for error in [*(row.where for row in rows if row.state == "failed"), *(str(b.error) for b in builds if b.error)]:
        print(f"\n{error}", file=sys.stderr)
