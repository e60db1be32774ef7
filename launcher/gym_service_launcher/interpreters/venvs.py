"""The venvs of entries and of ``[interpreters.NAME]`` tables: where each is, and building it once.

Knows entries, locks, and the order that ``standalone/venv_builder.py`` carries out. Never knows what the packages are
for, nor how a server is started. Python 3.10 and up.

The builder runs in this process for a venv of this machine. For one at the other end of a command the same order
travels with the server (``servers/over_command.py``).
"""

import shlex
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_service_launcher.config import lock
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.lock import LockedVenv
from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.interpreters import build_hints, discovery
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.interpreters.venv_spec import VenvSpec, exact_order, spec_of
from gym_service_launcher.standalone import installed_packages, interrupts, venv_builder
from gym_service_launcher.standalone.build_commands import BuildFailed

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Venv:
    """A venv as the builder found or built it.

    ``state`` is "found", "built" or "missing". ``packages`` and ``sources`` (of those that came from no index) are
    empty unless they were asked for; so is ``missing_packages``, which is None where the system cannot be asked.
    """

    state: str
    python: Path
    version: str | None
    marker: Mapping[str, Any] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    missing_packages: tuple[str, ...] | None = ()
    platform: str = ""

    @property
    def changed_by_hand(self) -> dict[str, list[str | None]]:
        """The packages that are not what the build installed: {name: [built, now]}."""
        return installed_packages.changes(self.marker.get("packages", {}), dict(self.packages))


@dataclass(frozen=True)
class Wanted:
    """How a venv is wanted: by whom, from which lock, and whether it may be built."""

    locked: LockedVenv | None = None
    may_build: bool = True
    rebuild: bool = False
    inspect: bool = False
    asked_by: tuple[tuple[str, str], ...] = ()
    watched: tuple[int, ...] = ()


def provision(entry: Entry, progress: Progress) -> Path:
    """The bin/python of the venv of an entry, built if it is not there. Obeys the lock beside envs.toml.

    Blocks while it builds, which may mean downloads of minutes; an existing venv costs one start of its Python, some
    20 ms. A venv never changes once it is built: what decides its content decides its name.

    Args:
        entry: an entry that builds a venv, on this machine.
        progress: is called with each line about the build, those of the installer included, without line ends.

    Raises:
        ConfigError: there is no such Python; a file that the entry names cannot be read; envs.lock is damaged.
        ServerStartError: an installer failed, or the venv is not there and ``auto_sync`` is false.
    """
    spec = spec_of(entry)
    assert spec, "the entry builds a venv"
    asked_by = ((str(entry.file), entry.name),) if entry.file else ()
    wanted = Wanted(locked_venv(entry, spec, progress), may_build=entry.auto_sync, asked_by=asked_by)
    venv = provide(spec, wanted, progress)
    if venv.state == "missing":
        raise not_synced(entry, spec)
    return venv.python


def find_built(entry: Entry) -> Path | None:
    """The bin/python that ``provision`` returns at once; None if it must build the venv first."""
    spec = spec_of(entry)
    assert spec, "the entry builds a venv"
    venv = provide(spec, Wanted(locked_venv(entry, spec, lambda line: None), may_build=False), lambda line: None)
    return venv.python if venv.state == "found" else None


def locked_venv(entry: Entry, spec: VenvSpec, progress: Progress) -> LockedVenv | None:
    """What envs.lock says about the venv of an entry; None if there is no lock, or it is about an earlier envs.toml."""
    found = lock.read(lock.path_of(entry.file)) if entry.file else None
    if found is None:
        return None
    venv = found.venv_for(spec.digest)
    if venv is None and entry.name in found.envs and found.envs[entry.name].venv:
        progress(f"{lock.path_of(entry.file or Path())} is older than {spec.whose}: not obeyed (try: gym-service lock)")
    return venv


def provide(spec: VenvSpec, wanted: Wanted, progress: Progress) -> Venv:
    """A venv of this machine, as it is wanted. Blocks and raises as ``provision``.

    The Python is searched for only where the venv must be built. Where the other end of a ``watched`` descriptor is
    closed, the build is undone and GivenUp is raised.
    """
    if not wanted.rebuild:
        found = _provide(order_of(spec, wanted, may_build=False), spec, progress, ())
        if found.state == "found" or not wanted.may_build:
            return found
    order = order_of(spec, wanted, may_build=wanted.may_build)
    order["python"] = _base_python(spec, wanted.locked, progress)
    return _provide(order, spec, progress, wanted.watched)


def _provide(order: dict[str, Any], spec: VenvSpec, progress: Progress, watched: tuple[int, ...]) -> Venv:
    try:
        return venv_of(venv_builder.provide(order, progress, watched))
    except BuildFailed as error:
        raise build_error(spec, str(error), error.argv, error.exit_code, error.tail) from error
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        text = f"the venv of {spec.whose} cannot be built: {error}"
        text += "\n  try: XDG_CACHE_HOME=/a/folder/you/may/write/to"
        raise ServerStartError(text, argv=(), interpreter=spec.python, exit_code=None, tail="") from error


def order_of(spec: VenvSpec, wanted: Wanted, *, may_build: bool) -> dict[str, Any]:
    """The order for a venv; ``venv_builder.py`` says what its keys mean. The caller sets ``python``."""
    requirements, keys, locked = spec.requirements, spec.keys, wanted.locked
    return {
        "cache": "",
        "name": spec.folder_name(locked),
        "instead": _as_good(spec, locked),
        "python": "",
        "folder": "" if spec.is_remote else str(spec.folder),
        "uv": [] if spec.is_remote else list(discovery.find_uv() or ()) if may_build else [],
        "words": spec.words(),
        "lines": list(requirements.lines),
        "options": [list(option) for option in requirements.options],
        "constraints": list(spec.constraints),
        "build_requires": list(keys.build_requires),
        "locked": exact_order(spec, locked) if locked else None,
        "post": [list(command) for command in keys.post],
        "system_packages": list(keys.system_packages),
        "may_build": may_build,
        "rebuild": wanted.rebuild and may_build,
        "inspect": wanted.inspect,
        "record": {
            "python": spec.python,
            "with": spec.contents + (f" ({len(locked.packages)} locked versions)" if locked else ""),
            "is_locked": locked is not None,
        },
        "asked_by": [list(pair) for pair in wanted.asked_by],
    }


def _as_good(spec: VenvSpec, locked: LockedVenv | None) -> dict[str, Any] | None:
    """The venv that was built before there was a lock, and that the lock was made of: it has these versions."""
    if locked is None:
        return None
    versions = {name: package.version for name, package in sorted(locked.packages.items())}
    return {"name": spec.folder_name(None), "packages": versions}


def venv_of(found: Mapping[str, Any]) -> Venv:
    """A venv from what the builder returned."""
    missing = found.get("missing_packages", ())
    return Venv(
        found["state"],
        Path(found["python"]),
        found["version"],
        found["marker"],
        found.get("packages", {}),
        found.get("sources", {}),
        None if missing is None else tuple(missing),
        found.get("platform", ""),
    )


def _base_python(spec: VenvSpec, locked: LockedVenv | None, progress: Progress) -> str:
    """The Python to make a venv from: a path, or a version that uv fetches."""
    is_version = bool(discovery.VERSION.fullmatch(spec.python))
    if locked and is_version:
        try:
            return str(find_interpreter(locked.python, spec.folder))
        except ConfigError:
            pass
    try:
        found = str(find_interpreter(spec.python, spec.folder))
    except ConfigError:
        if is_version and discovery.find_uv():
            return locked.python if locked else spec.python
        raise
    if locked and is_version:
        version, _ = discovery.query_version(found)
        progress(f"Python {locked.python}, which is locked, is not on this machine: {version} stands in for it")
    return found


def build_error(
    spec: VenvSpec,
    reason: str,
    argv: tuple[str, ...] = (),
    exit_code: int | None = None,
    tail: str = "",
    where: str = "",
) -> ServerStartError:
    """The error of a build that failed: whose venv, which command, the installer's own words, and what to try."""
    text = f"the venv of {spec.whose} was not built{where}: {reason}"
    if argv:
        text += f"\n  command: {shlex.join(argv)}"
    if tail:
        text += f"\n{textwrap.indent(tail, '    ')}"
    text += f"\n  try: {build_hints.advice(tail, spec)}"
    return ServerStartError(text, argv=argv, interpreter=spec.python, exit_code=exit_code, tail=tail)


def not_synced(entry: Entry, spec: VenvSpec) -> ServerStartError:
    """The error of an entry with ``auto_sync = false`` whose venv is not there."""
    command = f"gym-service sync {entry.name}" if entry.file else "auto_sync=True"
    text = f"the venv of {spec.whose} is not built, and auto_sync is false\n  try: {command}"
    return ServerStartError(text, argv=(), interpreter=spec.python, exit_code=None, tail="")


def cache_folder() -> Path:
    """The folder of the venvs of this user."""
    return Path(venv_builder.cache_folder())
