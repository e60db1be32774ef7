"""envs.lock: the exact versions that an envs.toml was last seen to work with.

Knows the file and its form. Never knows how the versions are found (``interpreters/locking.py``) or installed. Python
3.10 and up.

The file is JSON with one package a line: the standard library reads and writes it, at both ends of a command and in
some milliseconds, which a ``gym.make`` has to wait for. It holds versions, hashes and the sources of what came from no
index. It holds no index, no path of a machine and no time, so two people who lock the same get the same bytes.

What must change together: ``FORMAT`` and the form of the file.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_service_launcher.errors import ConfigError
from gym_service_launcher.standalone import interrupts

FORMAT = 1
# They end in the command lines and files of installers, where a space could begin an option.
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VERSION = re.compile(r"[\w.!+-]+")
HASH = re.compile(r"[a-z0-9]+:[0-9a-f]+")
SOURCE = re.compile(r"local|[\w.-]+ @ [a-z+]+://[!-~]+")
ABOUT = "Written by `gym-service lock` from the envs.toml beside it. Commit it; do not edit it."


@dataclass(frozen=True)
class LockedPackage:
    """One package. ``source`` is None for one of an index; "local" for a folder of the user's; else a requirement."""

    version: str
    hashes: tuple[str, ...] = ()
    source: str | None = None


@dataclass(frozen=True)
class LockedVenv:
    """One venv. ``recipe`` is the digest of what envs.toml says about it (``VenvSpec.digest``).

    ``platform`` is where it was locked, such as "linux x86_64"; ``installer`` is "uv" or "pip".
    """

    recipe: str
    python: str
    platform: str
    installer: str
    packages: Mapping[str, LockedPackage]


@dataclass(frozen=True)
class LockedEnv:
    """One entry: the venv it runs in, and the hash of its play. Where there is no hash, ``no_hash`` says why.

    ``venv`` is empty where the interpreter is not ours to build. ``recipe`` is the digest of what decides the play.
    """

    recipe: str
    venv: str = ""
    hash: str | None = None
    no_hash: str = ""


@dataclass(frozen=True)
class LockFile:
    """What an envs.lock says."""

    venvs: Mapping[str, LockedVenv] = field(default_factory=dict)
    envs: Mapping[str, LockedEnv] = field(default_factory=dict)

    def venv_for(self, recipe: str) -> LockedVenv | None:
        """The venv that was locked for what envs.toml says; None if nothing was, or envs.toml has changed since."""
        return next((venv for venv in self.venvs.values() if venv.recipe == recipe), None)


def path_of(envs_file: Path) -> Path:
    """The lock beside an envs.toml."""
    return envs_file.with_suffix(".lock")


def read(path: Path) -> LockFile | None:
    """What a lock says; None if there is none.

    Raises:
        ConfigError: it cannot be read, is damaged, or was written by a newer gym-service.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise _broken(
                path, f"its format is {data['format']}; this gym-service reads {FORMAT}", "a newer gym-service"
            )
        return from_data(data)
    except FileNotFoundError as error:
        interrupts.raise_if_from_handler(error)
        return None
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise _broken(path, f"cannot be read: {error.strerror}", "another owner or mode") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(
            path, f"is damaged ({type(error).__name__}: {error})", "gym-service lock, which writes it"
        ) from error


def write(path: Path, lock: LockFile) -> bool:
    """Write a lock so that it is complete or unchanged. Returns whether anything changed."""
    text = dumps(lock)
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def dumps(lock: LockFile) -> str:
    """The text of a lock: sorted, with one package a line, so that a diff shows what has changed."""
    data = to_data(lock)
    venvs = ",\n".join(_venv_text(name, venv) for name, venv in data["venvs"].items())
    envs = ",\n".join(f"    {json.dumps(name)}: {json.dumps(env)}" for name, env in data["envs"].items())
    head = f'  "about": {json.dumps(ABOUT)},\n  "format": {FORMAT},\n'
    return f'{{\n{head}  "venvs": {{\n{venvs}\n  }},\n  "envs": {{\n{envs}\n  }}\n}}\n'


def _venv_text(name: str, venv: dict[str, Any]) -> str:
    packages = ",\n".join(f"      {json.dumps(key)}: {json.dumps(one)}" for key, one in venv.pop("packages").items())
    facts = "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in venv.items())
    return f'    {json.dumps(name)}: {{{facts}"packages": {{\n{packages}\n    }}}}'


def to_data(lock: LockFile) -> dict[str, Any]:
    """A lock as plain data: what stands in the file, and in a bundle."""
    return {
        "format": FORMAT,
        "venvs": {name: _venv_data(venv) for name, venv in sorted(lock.venvs.items())},
        "envs": {name: _without_none(vars(env)) for name, env in sorted(lock.envs.items())},
    }


def _venv_data(venv: LockedVenv) -> dict[str, Any]:
    packages = {
        name: _without_none({"version": one.version, "source": one.source, "hashes": list(one.hashes)})
        for name, one in sorted(venv.packages.items())
    }
    return {**vars(venv), "packages": packages}


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value not in (None, "", [])}


def from_data(data: Mapping[str, Any]) -> LockFile:
    """A lock from plain data. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
    venvs = {}
    for name, venv in data["venvs"].items():
        packages = {_matching(NAME, key): _package(one) for key, one in venv["packages"].items()}
        facts = {key: _text(venv[key]) for key in ("recipe", "python", "platform", "installer")}
        venvs[name] = LockedVenv(**facts, packages=packages)
    envs = {name: LockedEnv(**{key: _text(value) for key, value in env.items()}) for name, env in data["envs"].items()}
    return LockFile(venvs, envs)


def loads(text: Any) -> LockFile:
    """A lock from its text. Raises as ``from_data``; ValueError for another format."""
    data = json.loads(text)
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']}, and not {FORMAT}")
    return from_data(data)


def _package(data: Mapping[str, Any]) -> LockedPackage:
    source = data.get("source")
    hashes = tuple(_matching(HASH, value) for value in data.get("hashes", ()))
    return LockedPackage(_matching(VERSION, data["version"]), hashes, source and _matching(SOURCE, source))


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    """A text that ends in what an installer reads, if it has the right form: a lock may come from anybody."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r} was not expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or any(character < " " for character in value):
        raise ValueError(f"{value!r} is not a text of one line")
    return value


def _broken(path: Path, what: str, advice: str) -> ConfigError:
    return ConfigError(f"{path}: {what}\n  try: {advice}", file=str(path), key="")
