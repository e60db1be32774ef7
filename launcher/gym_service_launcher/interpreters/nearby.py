"""Interpreters near a path that leads to none: where the user probably meant to point.

Knows the mistakes that people make with such paths: another folder to start from, a folder inside a venv or around it,
a path of Windows, a letter. Names only what exists and looks like an interpreter, and runs none of it. Never knows
envs.toml. Python 3.10 and up.

A path is never resolved through its links: the real path of venv/bin/python is another interpreter.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from gym_service_launcher.spelling import misspelt
from gym_service_launcher.standalone import interrupts

EXECUTABLES = ("bin/python", "bin/python3")
EXECUTABLE_NAME = re.compile(r"(?:python|pypy)[\d.]*")
# What people write behind the folder of a venv.
INSIDE_VENV = re.compile(r"(?:/(?:bin|Scripts))?(?:/(?:python|pypy)[\d.]*(?:\.exe)?)?/?$")
# Names that many projects give their own venv: where one of these lies elsewhere, it is another project's.
COMMON_NAMES = {".venv", "venv", ".env", "env"}
# What a venv holds, beside programs named python.
IN_VENV = re.compile(r"bin|lib|lib64|include|Scripts|(?:python|pypy)[\d.]*(?:\.exe)?")
MOST_NAMED = 3


def advice(python: str, folder: Path, written: Callable[[str], str]) -> str | None:
    """What to write for ``python``, a path from ``folder`` that leads to no interpreter. None if nothing near is one.

    ``written`` puts a path such as ``./sim_env`` in the form in which the user has written it.
    """
    if "$" in python:
        replaced = os.path.expandvars(python)
        return written(replaced) if is_interpreter(replaced) else None
    path = Path(os.path.normpath(os.path.join(folder, os.path.expanduser(python))))
    is_relative = not os.path.isabs(python)
    for find in (_around, _elsewhere, _misspelled):
        found = dict.fromkeys(os.path.normpath(each) for each in find(path, python, folder) if each != path)
        shown = [_from(folder, each) if is_relative else each for each in found if is_interpreter(each)]
        if shown:
            base = f" (relative paths start from {folder})" if find is _elsewhere and is_relative else ""
            return ", or ".join(map(written, shown[:MOST_NAMED])) + base
    return None


def is_interpreter(path: str) -> bool:
    """Whether this is an executable named python, or a folder that has one, such as a venv."""
    if os.path.isdir(path):
        return any(_is_executable(os.path.join(path, name)) for name in EXECUTABLES)
    return EXECUTABLE_NAME.fullmatch(os.path.basename(path)) is not None and _is_executable(path)


def is_venv_of_windows(path: Path) -> bool:
    """Whether this folder is a venv that Windows made."""
    return os.path.exists(path / "Scripts/python.exe")


def _around(path: Path, python: str, folder: Path) -> Iterable[Path]:
    """The venv that the path is a part of, or those directly in it."""
    if _is_executable(str(path / "python")):  # a bin folder, also of an interpreter that is no venv
        return [path.parent if path.name == "bin" else path / "python"]
    for parent in path.parents:
        # A project may lie in a venv too: then most paths in it are no part of the venv.
        is_part = IN_VENV.fullmatch(path.relative_to(parent).parts[0]) or folder in parent.parents
        if os.path.isfile(parent / "pyvenv.cfg") and is_part:
            return [parent]
    return [path / name for name in _names(path) if os.path.isfile(path / name / "pyvenv.cfg")]


def _elsewhere(path: Path, python: str, folder: Path) -> Iterable[Path]:
    """The same path from the places where people start one: the folder, its parent, the current and the home folder."""
    written = python.replace("\\", "/")
    here, home = _current_folder() or folder, Path(os.path.expanduser("~"))
    # An entry has absolute paths only: what the user wrote is one of these.
    ways = [written, *(os.path.relpath(path, start) for start in (folder, home) if written.startswith("/"))]
    found = []
    for way in ways:
        parts = [part for part in INSIDE_VENV.sub("", way).split("/") if part not in ("", ".", "..", "~")]
        found.append(here / os.path.expanduser(way))
        if parts:
            found += [start.joinpath(*parts) for start in (folder, folder.parent, here, home)]
            if parts[-1] not in COMMON_NAMES:
                found += [start / parts[-1] for start in (folder, here)]
    return found


def _misspelled(path: Path, python: str, folder: Path) -> Iterable[Path]:
    """The path with nearly the same name in place of its first part that does not exist."""
    missing = next((each for each in (path, *path.parents) if os.path.isdir(each.parent)), path)
    rest = path.relative_to(missing)
    return [missing.parent / name / rest for name in _names(missing.parent) if misspelt(missing.name, [name])]


def _from(folder: Path, path: str) -> str:
    start = f"{os.path.normpath(folder)}/"
    return f"./{path.removeprefix(start)}" if path.startswith(start) else path


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError as error:  # it was removed
        interrupts.raise_if_from_handler(error)
        return None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return []


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
