"""Builds the venv of an entry with ``requires``, once, with uv.

Knows uv, the cache folder and the lock around a build. Never knows envs.toml or what the packages are for. Python 3.10
and up.

A venv is built in its final place, under a lock, and its marker is written last. A venv without a marker is incomplete
and is rebuilt. uv inherits the lock: if the process that started it is killed, the next one waits for that uv to end,
so two of them never write into one venv.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.standalone.env_vars import without_python_vars

# How much of uv's output an error repeats. The explanation of a resolver is seldom longer.
TAIL_LINES = 40

MARKER = "gym-service.json"

# "./repo", "/a/b.whl", "~/repo", "name[extra] @ ./repo", "-e ./repo"
LOCAL = re.compile(r"(?:^|@|^-e)\s*((?:\.|/|~)[^\[;]*)")

Progress = Callable[[str], None]


def provision(python: str, requires: tuple[str, ...], folder: Path, progress: Progress) -> Path:
    """Return the bin/python of a venv of ``python`` with ``requires`` installed. Build the venv if there is none.

    Blocks while it builds; downloads may take minutes. An existing venv costs one start of its Python, some 20 ms. A
    venv never changes once it is built: another ``requires`` gives another venv.

    Args:
        python: as in envs.toml. uv downloads a version that this machine does not have.
        requires: requirements as pip takes them; a local folder may follow ``-e``.
        folder: the folder that relative paths in both start from.
        progress: is called with each line of progress, uv's output included, without line ends.

    Raises:
        ConfigError: there is no such Python, or ``requires`` contains an option of pip.
        ServerStartError: uv is not installed, or it failed. The text ends with the last lines of its output.
    """
    arguments = [argument for item in requires for argument in _arguments(item)]
    venv = _cache() / _name(python, requires, folder)
    if _is_complete(venv):
        return venv / "bin/python"
    command = _find_uv()
    try:
        with _lock(venv.with_suffix(".lock"), progress) as lock:
            # Another process may have built it while this one waited for the lock.
            if not _is_complete(venv):
                progress(f"Building a venv of Python {python} with {', '.join(requires)} in {venv}")
                _build(_Uv(command, python, folder, progress, lock), venv, arguments)
    except (OSError, ValueError) as error:
        text = f"The venv {venv} cannot be built: {error}\n  try: XDG_CACHE_HOME=/a/folder/you/may/write/to"
        raise ServerStartError(text, argv=command, interpreter=python, exit_code=None, tail="") from error
    return venv / "bin/python"


def find_built(python: str, requires: tuple[str, ...], folder: Path) -> Path | None:
    """The bin/python that ``provision`` returns at once; None if it must build the venv first."""
    venv = _cache() / _name(python, requires, folder)
    return venv / "bin/python" if _is_complete(venv) else None


@dataclass(frozen=True)
class _Uv:
    """How to run uv for one venv."""

    command: tuple[str, ...]
    python: str
    folder: Path
    progress: Progress
    lock: int

    def run(self, *arguments: str) -> None:
        """Run uv and pass each line of its output to ``progress``. Blocks until it ends. Raises ServerStartError."""
        argv = (*self.command, *arguments)
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with self._started(argv) as process:
            try:
                for line in process.stdout or ():
                    tail.append(line.rstrip())
                    self.progress(tail[-1])
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise self._failed(argv, process.returncode, "\n".join(tail))

    def _started(self, argv: tuple[str, ...]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            argv,
            cwd=self.folder,
            env=without_python_vars(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self.lock,),
            encoding="utf-8",
            errors="replace",
        )

    def _failed(self, argv: tuple[str, ...], exit_code: int, tail: str) -> ServerStartError:
        text = f"uv failed (exit code {exit_code}) on: {shlex.join(argv)}\n{tail}"
        return ServerStartError(text, argv=argv, interpreter=self.python, exit_code=exit_code, tail=tail)


def _arguments(item: str) -> list[str]:
    editable, path = re.fullmatch(r"(-e\s+)?(.*)", item.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
    if path.startswith("-"):
        text = f"requires: {json.dumps(item)} is an option of pip; expected a requirement, or -e and a folder"
        raise ConfigError(text, file=None, key="requires")
    return [*(["-e"] if editable else []), os.path.expanduser(path)]


def _cache() -> Path:
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    home = configured if os.path.isabs(configured) else os.path.expanduser("~/.cache")
    return Path(home) / "gym-service" / "venvs"


def _name(python: str, requires: tuple[str, ...], folder: Path) -> str:
    """A hash of everything that the venv is built from. Of the platform too: machines may share a home folder."""
    local = [found[1].strip() for item in requires if (found := LOCAL.search(item))]
    paths = [Path(os.path.normpath(folder / os.path.expanduser(path))) for path in local]
    plain_python = "/" not in python and not python.startswith((".", "~"))
    made_from = {
        "python": python if plain_python else os.path.normpath(folder / os.path.expanduser(python)),
        "requires": requires,
        "local": [(str(path), _mtimes(path)) for path in paths],
        "machine": (sys.platform, platform.machine()),
    }
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]


def _mtimes(path: Path) -> list[int]:
    """The times of the metadata files of a local package. A change of its code alone needs ``-e`` to take effect."""
    metadata_files = (path, path / "pyproject.toml", path / "setup.py", path / "setup.cfg")
    return [file.stat().st_mtime_ns for file in metadata_files if file.is_file()]


def _is_complete(venv: Path) -> bool:
    """Whether the venv was built completely and still runs. Its Python may have been removed or replaced."""
    try:
        built = json.loads((venv / MARKER).read_text())
        version, _ = discovery.query_version(venv / "bin/python")
    except (OSError, ValueError):
        return False
    return bool(discovery.matches(version, built["minor"]))


def _find_uv() -> tuple[str, ...]:
    uv = discovery.find_uv()
    if uv is None:
        text = "requires: uv builds the venv, but it is neither on PATH nor beside this Python\n  try: pip install uv"
        raise ServerStartError(text, argv=(), interpreter=sys.executable, exit_code=None, tail="")
    return uv


@contextmanager
def _lock(file: Path, progress: Progress) -> Iterator[int]:
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"Waiting for another process that is building {file.with_suffix('')}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        # The file is never removed: one process could hold the lock of a removed file while another creates a new one.
        os.close(lock)


def _build(uv: _Uv, venv: Path, arguments: list[str]) -> None:
    # Remove the marker first, so that nobody takes a half-removed venv for a complete one.
    (venv / MARKER).unlink(missing_ok=True)
    if venv.exists():
        shutil.rmtree(venv)
    source = _source(uv.python, uv.folder)
    executable = venv / "bin/python"
    uv.run("venv", "--no-project", "--python", source, str(venv))
    if arguments:
        uv.run("pip", "install", "--python", str(executable), *arguments)
    version, _ = discovery.query_version(executable)
    unfinished = venv / f"{MARKER}.tmp"
    unfinished.write_text(json.dumps({"minor": version.rpartition(".")[0], "python": source}))
    unfinished.replace(venv / MARKER)


def _source(python: str, folder: Path) -> str:
    """What ``uv venv --python`` is given: the interpreter's path, or its version if this machine does not have it."""
    try:
        return str(find_interpreter(python, folder))
    except ConfigError:
        if discovery.VERSION.fullmatch(python):
            return python  # uv may download it
        raise
