"""A bundle: one entry with its interpreter, its lock and the user's own small modules, in one TOML file.

Knows the form of the file, and what may stand in one that somebody else wrote. Never knows where it is written to
(``gym_service/cli/add.py``). Python 3.10 and up.

    bundle = 1
    [interpreters.NAME] and [envs.NAME]     as in an envs.toml
    [files]                                 texts by relative path
    lock                                    the part of envs.lock, as JSON

A bundle is not trusted. It can describe what is installed, and ``post`` runs commands: the user who adds it
sees all of it first. It cannot name a path outside of its own files, nor a command or a server to connect to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import lock, requirements
from gym_service_launcher.config.entry import Entry, Interpreter
from gym_service_launcher.config.envs_file import parse
from gym_service_launcher.config.lock import LockFile
from gym_service_launcher.config.validation import Location, read, table
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.standalone import interrupts

FORMAT = 1
LARGEST_BYTES, MOST_FILES = 1024 * 1024, 500
KEYS = ("bundle", "interpreters", "envs", "files", "lock")
# What leads to another host or to a place of one machine.
REFUSED = ("command", "address", "token_file", "tls_ca", "tls_sha256", "activate", "cwd", "project")
VERSION = re.compile(r"\d+(\.\d+){0,2}")
# No part begins with a dot: neither ".." nor a hidden file.
PATH = re.compile(r"[\w][\w.+-]*(/[\w][\w.+-]*)*")
NAME = re.compile(r"[\w][\w.-]*")


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds. ``env`` and ``interpreter`` are tables as they stand in it."""

    name: str
    env: Mapping[str, Any]
    interpreter_name: str | None
    interpreter: Mapping[str, Any] | None
    files: Mapping[str, str]
    lock: LockFile


def load(path: Path) -> Bundle:
    """Read a bundle and check that it names nothing outside of itself.

    Raises:
        ConfigError: it cannot be read, or holds what a bundle may not.
    """
    location = Location(path, path.parent, str(path))
    try:
        with path.open("rb") as file:
            content = file.read(2 * LARGEST_BYTES + 1)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise location.error(f"cannot be read: {error.strerror}") from error
    if len(content) > 2 * LARGEST_BYTES:
        raise location.error("is too large for a bundle")
    data = parse(content, location)
    if data.get("bundle") != FORMAT:
        raise location.at("bundle").error(f"expected {FORMAT}: this is not a bundle that this gym-service reads")
    for key in data:
        if key not in KEYS:
            raise location.at(key).error("is not a key of a bundle")
    files = _files(data.get("files", {}), location.at("files"))
    envs = table(data.get("envs", {}), location.at("envs"))
    tables = table(data.get("interpreters", {}), location.at("interpreters"))
    if len(envs) != 1 or len(tables) > 1:
        raise location.error("expected one entry, and one interpreter at most")
    ((name, env),) = envs.items()
    if not NAME.fullmatch(name):
        raise location.at("envs").at(name, quoted=True).error("is not a name of an entry")
    return _checked(name, env, tables, files, data.get("lock"), location)


def _checked(
    name: str, env: Any, tables: dict[str, Any], files: dict[str, str], locked: Any, location: Location
) -> Bundle:
    at = location.at("envs").at(name, quoted=True)
    interpreters: dict[str, Interpreter | ConfigError] = {}
    for key, value in tables.items():
        if not NAME.fullmatch(key):
            raise location.at("interpreters").at(key).error("is not a name of an interpreter")
        here = location.at("interpreters").at(key)
        _check_table(table(value, here), files, here)
        interpreters[key] = Interpreter(**read(value, entries.INTERPRETER_KEYS, here))
    _check_table(table(env, at), files, at)
    made = entries.entry(name, env, file=location.file, interpreters=interpreters)
    if not made.builds_venv:
        raise at.error("says nothing about what is installed")
    _check_local(made, location)
    chosen = env.get("interpreter")
    return Bundle(name, env, chosen, tables.get(chosen) if chosen else None, files, _lock(locked, location.at("lock")))


def _check_table(given: Mapping[str, Any], files: Mapping[str, str], location: Location) -> None:
    """Raise for a key that leads out of the bundle."""
    for key in REFUSED:
        if key in given:
            raise location.at(key).error("cannot stand in a bundle: it is about one machine")
    if "python" in given and not VERSION.fullmatch(str(given["python"])):
        raise location.at("python").error('is not a version, such as "3.10": a bundle brings no interpreter')
    for key in ("requirements", "constraints"):
        if isinstance(given.get(key), str) and given[key] not in files:
            raise location.at(key).error("names no file of the bundle")
    for folder in given.get("pythonpath", ()):
        if not any(name.startswith(f"{folder}/") for name in files):
            raise location.at("pythonpath").error(f"{folder!r} is no folder of the bundle")


def _check_local(made: Entry, location: Location) -> None:
    """Raise for a requirement that is a path, or a file of them."""
    items = [*(made.requires or ()), *made.build_requires]
    for item in items:
        is_option = requirements.OPTION.match(item.strip())
        name = requirements.SHORT.get(is_option[1], is_option[1]) if is_option else ""
        value = is_option[2].strip() if is_option else ""
        is_path = name in requirements.PATHS and not requirements.URL.match(value)
        if is_path or requirements.LOCAL.match(item.strip()):
            raise location.error(f"{item!r} is a path: a bundle holds no packages")


def _files(value: Any, location: Location) -> dict[str, str]:
    files = table(value, location)
    if len(files) > MOST_FILES:
        raise location.error(f"more than {MOST_FILES} files")
    for name, text in files.items():
        check_name(name, location)
        if not isinstance(text, str):
            raise location.at(name).error("is not a text")
        if any(other.lower().startswith(f"{name.lower()}/") for other in files):
            raise location.at(name).error("is a file and a folder")
    if sum(len(text.encode()) for text in files.values()) > LARGEST_BYTES:
        raise location.error("is too large for a bundle")
    return files


def check_name(name: str, location: Location) -> None:
    """Raise ConfigError for a path that leads out of the folder of a bundle, or is hidden in it."""
    if not PATH.fullmatch(name) or len(name) > 200:
        raise location.at(name).error("is not a path inside of a bundle")


def _lock(value: Any, location: Location) -> LockFile:
    if value is None:
        return LockFile()
    try:
        return lock.loads(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise location.error(f"is damaged ({type(error).__name__}: {error})") from error
