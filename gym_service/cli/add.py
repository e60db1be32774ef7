"""``gym-service add``: adds the entry of a bundle to an envs.toml, after it has shown what is in it.

Knows bundles, envs.toml and the terminal. Never knows how a bundle is made (``export.py``). Python 3.10 and up.

The files go first and envs.toml last, so a failure leaves an envs.toml that works as before.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import tomlkit
from gym_service_launcher.config import bundle, envs_file, lock
from gym_service_launcher.config.bundle import Bundle
from gym_service_launcher.config.lock import LockFile
from gym_service_launcher.errors import ConfigError, GymServiceError


def run(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code."""
    found = bundle.load(Path(arguments.bundle).absolute())
    file = arguments.envs or envs_file.find() or Path("envs.toml")
    target = Path(os.path.realpath(file))  # a link is followed, and not replaced
    name = arguments.name or found.name
    folder = target.parent / name
    document = _document(target, name)
    if not bundle.NAME.fullmatch(name):
        raise GymServiceError(f"{name!r} is not a name of an entry")
    if found.files and os.path.lexists(folder):
        raise GymServiceError(f"{folder} exists, and the files of the bundle would go there\n  try: --as ANOTHER_NAME")
    addition = _addition(found, name, document)
    _show(found, name, target, folder, addition)
    if not arguments.yes and not _agrees():
        print("nothing was added", file=sys.stderr)
        return 2
    _write(found, name, target, folder, document, addition)
    print(f"added {name} to {target}\n  try: gym-service sync{' --locked' if found.lock.venvs else ''} {name}")
    return 0


def _document(target: Path, name: str) -> Any:
    """The envs.toml to be changed. Raises ConfigError if it is no TOML or has such an entry already."""
    if not target.exists():
        return tomlkit.document()
    known = envs_file.load(target)
    for problem in known.problems:
        raise problem
    if name in known.entries:
        text = f"{target} has an entry {name!r} already\n  try: --as ANOTHER_NAME"
        raise ConfigError(text, file=str(target), key=f'envs."{name}"')
    return tomlkit.parse(target.read_bytes().decode("utf-8-sig"))  # bytes: its ends of lines are kept


def _addition(found: Bundle, name: str, document: Any) -> dict[str, Any]:
    """The tables that are added, with the paths and names that they have here."""
    env, tables = dict(found.env), {}
    if found.interpreter is not None:
        inside = _moved(dict(found.interpreter), name)
        known = document.get("interpreters", {})
        own, number = str(found.interpreter_name), 1
        while own in known and known[own].unwrap() != inside:
            number += 1
            own = f"{found.interpreter_name}-{number}"
        env["interpreter"] = own
        tables = {} if own in known else {own: inside}
    return {"interpreters": tables, "envs": {name: _moved(env, name)}}


def _moved(keys: dict[str, Any], name: str) -> dict[str, Any]:
    """Keys whose paths start from the folder of envs.toml, in which the bundle has a folder of its own."""
    if "pythonpath" in keys:
        keys["pythonpath"] = [f"./{name}/{folder}" for folder in keys["pythonpath"]]
    for key in ("requirements", "constraints"):
        if isinstance(keys.get(key), str):
            keys[key] = f"./{name}/{keys[key]}"
    return keys


def _show(found: Bundle, name: str, target: Path, folder: Path, addition: dict[str, Any]) -> None:
    """Print all that would be written, with nothing in it that a terminal would obey."""
    print(f"to {target}:\n")
    print(_harmless(tomlkit.dumps({key: value for key, value in addition.items() if value})))
    posts = [command for table in (found.env, found.interpreter or {}) for command in table.get("post", ())]
    for command in posts:
        print(_harmless(f"sync will run: {' '.join(command)}"))
    if found.files:
        print(f"to {folder}, which simulators import, and so run:")
        for path, text in found.files.items():
            print(_harmless(f"  {path}  {len(text.encode())} bytes"))
    for venv in found.lock.venvs.values():
        print(f"to {lock.path_of(target)}: {len(venv.packages)} versions for {name}")
    sys.stdout.flush()


def _harmless(text: str) -> str:
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def _agrees() -> bool:
    if not sys.stdin.isatty():
        print("without a terminal, --yes says that this is what you want", file=sys.stderr)
        return False
    return input("\nAdd it? [y/N] ").strip().lower() in ("y", "yes")


def _write(found: Bundle, name: str, target: Path, folder: Path, document: Any, addition: dict[str, Any]) -> None:
    if found.files:
        folder.mkdir(parents=True)
    try:
        for path, text in found.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        for section, tables in addition.items():
            for key, value in tables.items():
                document.setdefault(section, tomlkit.table(is_super_table=True))[key] = value
        _lock(found, name, target)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        unfinished.write_bytes(tomlkit.dumps(document).encode())
        unfinished.replace(target)
    except BaseException:
        if found.files:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _lock(found: Bundle, name: str, target: Path) -> None:
    if found.lock.venvs:
        path = lock.path_of(target)
        known = lock.read(path) or LockFile()
        envs = dict.fromkeys([name], found.lock.envs[found.name]) if found.name in found.lock.envs else {}
        lock.write(path, LockFile({**known.venvs, **found.lock.venvs}, {**known.envs, **envs}))
