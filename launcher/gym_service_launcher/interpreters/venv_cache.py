"""Lists the venvs in the cache with the entries that ask for them, and removes venvs.

Knows the folder, the markers, and the envs.toml files that the markers name. Never knows which servers run; the caller
says which venvs are in use. Python 3.10 and up.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gym_service_launcher.config import envs_file, lock
from gym_service_launcher.config.entry import Entry, Interpreter
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters.venv_spec import VenvSpec, spec_of, spec_of_interpreter
from gym_service_launcher.interpreters.venvs import cache_folder
from gym_service_launcher.standalone import interrupts, venv_builder

State = Literal["complete", "incomplete", "being built", "broken"]
DAY_S = 24 * 60 * 60.0


@dataclass(frozen=True)
class CachedVenv:
    """One venv in the cache.

    ``state``: "incomplete" is what a killed build left, "broken" is a venv whose Python does not run. ``asked_by`` are
    the entries and interpreter tables that ask for it now; ``was_asked_by`` those that ever did, as (file, name).
    """

    path: Path
    state: State
    python: str
    contents: str
    size_bytes: int
    unused_s: float
    asked_by: tuple[tuple[str, str], ...]
    was_asked_by: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return self.path.name


def cached_venvs() -> list[CachedVenv]:
    """All venvs in the cache, by name. Blocks for some 20 ms for each, and while their sizes are counted."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    asking: dict[str, dict[str, set[str]]] = {}
    return [_cached(path, asking) for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]


def why_removable(venv: CachedVenv, unused_days: float | None) -> str:
    """Why a venv can be removed; empty where it cannot.

    Args:
        venv: the venv.
        unused_days: also remove venvs that were not used for this many days; None to leave those.
    """
    if venv.state in ("incomplete", "broken"):
        return venv.state
    if venv.state == "being built":
        return ""
    if venv.was_asked_by and not venv.asked_by:
        return "no envs.toml asks for it any more"
    if unused_days is not None and venv.unused_s >= unused_days * DAY_S:
        return f"not used for {venv.unused_s / DAY_S:.0f} days"
    return ""


def remove(venv: CachedVenv, say: Callable[[str], None]) -> None:
    """Remove a venv. Blocks while another process builds it."""
    with venv_builder.locked(str(venv.path), say):
        (venv.path / venv_builder.MARKER).unlink(missing_ok=True)  # first: without it the rest counts as incomplete
        shutil.rmtree(venv.path, ignore_errors=True)


def _cached(path: Path, asking: dict[str, dict[str, set[str]]]) -> CachedVenv:
    marker = venv_builder.read_marker(str(path))
    was_asked_by = tuple((str(file), str(name)) for file, name in marker.get("asked_by", []))
    try:
        used_at = (path / venv_builder.MARKER).stat().st_mtime
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        used_at = path.stat().st_mtime
    return CachedVenv(
        path,
        _state(path, bool(marker)),
        marker.get("version", ""),
        marker.get("with", ""),
        _size_bytes(path),
        max(0.0, time.time() - used_at),
        tuple((file, name) for file, name in was_asked_by if path.name in _names(file, asking).get(name, ())),
        was_asked_by,
    )


def _state(path: Path, has_marker: bool) -> State:
    if has_marker:
        return "complete" if venv_builder.whole(str(path)) else "broken"
    return "being built" if _is_locked(venv_builder.lock_file(str(path))) else "incomplete"


def _is_locked(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        interrupts.raise_if_from_handler(error)
        return True
    finally:
        os.close(fd)
    return False


def _size_bytes(path: Path) -> int:
    """What the files take. uv links them to its own cache where it can, so removing them may free less."""
    sizes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            sizes += os.lstat(os.path.join(folder, name)).st_size
    return sizes


def _names(file: str, asking: dict[str, dict[str, set[str]]]) -> dict[str, set[str]]:
    """The names of the venvs that each entry and table of a file asks for now, with its lock and without."""
    if file not in asking:
        asking[file] = {}
        try:
            found = envs_file.load(file)
            locked = lock.read(lock.path_of(found.path))
        except ConfigError:  # it is gone, or no TOML
            return asking[file]
        tables = {f"[interpreters.{name}]": table for name, table in found.interpreters.items()}
        for name, what in {**found.entries, **tables}.items():
            spec = _spec(name, what, found.path)
            if spec:
                venvs = [None, locked.venv_for(spec.digest) if locked else None]
                asking[file][name] = {spec.folder_name(venv) for venv in venvs}
    return asking[file]


def _spec(name: str, what: Entry | Interpreter | ConfigError, file: Path) -> VenvSpec | None:
    try:
        if isinstance(what, Entry):
            return spec_of(what)
        if isinstance(what, Interpreter):
            return spec_of_interpreter(name.removeprefix("[interpreters.").removesuffix("]"), what, file)
    except ConfigError:
        pass
    return None
