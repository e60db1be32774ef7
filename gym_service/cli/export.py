"""``gym-service export``: one entry with its lock and the user's own modules, in one file for others.

Knows entries, locks and folders of modules. Never knows how a bundle is added (``add.py``). Python 3.10 and up.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomlkit
from gym_service_launcher.config import bundle, envs_file, lock
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.lock import LockFile
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters.venv_spec import VenvSpec, spec_of

ABOUT = "A bundle of gym-service. To add the entry to your envs.toml: gym-service add FILE"


def run(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code."""
    file = envs_file.load(arguments.envs or envs_file.find_or_fail())
    name = arguments.name.removeprefix("gym_service/")
    entry = file.entries.get(name)
    if isinstance(entry, ConfigError):
        raise entry
    if entry is None:
        known = ", ".join(file.entries) or "none"
        raise ConfigError(f"{file.path}: there is no entry {name!r}; it has: {known}", file=str(file.path), key="")
    found = lock.read(lock.path_of(file.path)) or LockFile()
    document = tomlkit.parse(file.path.read_text(encoding="utf-8-sig"))
    text = _text(entry, document, found)
    target = Path(arguments.output).absolute()
    target.write_text(text, encoding="utf-8")
    try:
        made = bundle.load(target)  # a file that add refuses is no bundle
    except ConfigError:
        target.unlink()
        raise
    print(f"{target}: {name}, {len(made.files)} files, {'locked' if made.lock.venvs else 'not locked'}")
    if entry.environ:
        print(f"it holds these variables of environ, with their values: {', '.join(entry.environ)}", file=sys.stderr)
    return 0


def _text(entry: Entry, document: Any, found: LockFile) -> str:
    """The text of the bundle of an entry. Raises ConfigError for what cannot be shared."""
    spec = spec_of(entry)
    if spec is None:
        text = f"{entry.name!r} has no requires or requirements: its interpreter is only on this machine"
        raise ConfigError(f"{text}\n  try: requires = […] in envs.toml", file=str(entry.file), key="")
    env = document["envs"][entry.name]
    tables = {entry.interpreter: document["interpreters"][entry.interpreter]} if entry.interpreter else {}
    files: dict[str, str] = {}
    if entry.pythonpath:
        env["pythonpath"] = [_module_folder(folder, files) for folder in entry.pythonpath]
    if not entry.entry_point:
        env["id"] = entry.id  # it may be added under another name
    for owner in (env, *tables.values()):
        _flatten(owner, spec, files)
    made = tomlkit.document()
    made.add(tomlkit.comment(ABOUT))
    made["bundle"] = bundle.FORMAT
    locked = _lock_of(entry, spec, found)
    if locked.venvs:
        made["lock"] = lock.dumps(locked)
    if tables:
        made["interpreters"] = tables
    made["envs"] = {entry.name: env}
    if files:
        made["files"] = files
    return tomlkit.dumps(made)


def _flatten(owner: Any, spec: VenvSpec, files: dict[str, str]) -> None:
    """Take the files that say what to install into the bundle, with the files that they name."""
    if isinstance(owner.get("requirements"), str):
        files["requirements.txt"] = "".join(f"{line}\n" for line in spec.requirements.lines)
        owner["requirements"] = "requirements.txt"
    if isinstance(owner.get("constraints"), str):
        owner["constraints"] = list(spec.constraints)


def _lock_of(entry: Entry, spec: VenvSpec, found: LockFile) -> LockFile:
    venvs = {name: venv for name, venv in found.venvs.items() if venv.recipe == spec.digest}
    envs = {name: env for name, env in found.envs.items() if name == entry.name and env.venv in venvs}
    return LockFile(venvs, envs)


def _module_folder(folder: Path, files: dict[str, str]) -> str:
    """Read the texts of a folder into ``files``; what the folder is called there."""
    name, number = folder.name, 1
    while any(other.startswith(f"{name}/") for other in files):
        number += 1
        name = f"{folder.name}-{number}"
    for path in _texts(folder):
        try:
            files[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            print(f"left out, since it is no text: {path}", file=sys.stderr)
    return name


def _texts(folder: Path) -> Iterator[Path]:
    """The files of a folder that may be modules or their data; no links, nothing hidden, no caches, no venvs."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__pycache__")) and not Path(place, name, "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and not path.is_symlink() and not name.endswith((".pyc", ".so")):
                yield path
