"""Finds the executable of an interpreter at a path: of a venv, or the path itself.

Knows venvs and executables. Never knows which path the user has written. Python 3.10 and up.

A path is never resolved through its links: the real path of venv/bin/python is another interpreter.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gym_service_launcher.errors import InterpreterNotFound
from gym_service_launcher.interpreters import nearby
from gym_service_launcher.standalone import interrupts

# What to write in place of a path that leads to no interpreter, if there is one near it.
Near = Callable[[], "str | None"]


def not_found(what: str, searched: Iterable[str], advice: str) -> InterpreterNotFound:
    """The error about what is no interpreter, with the places that were searched and what to try."""
    places = "".join(f"\n    {line}" for line in searched)
    text = f"{what}; searched:{places}" if places else what
    return InterpreterNotFound(f"{text}\n  try: {advice}", file=None, key="python")


def interpreter_at(path: Path, near: Near) -> Path:
    """The interpreter of a venv's folder, or the executable at this path. Raises InterpreterNotFound."""
    if not os.path.isdir(path):
        return executable_at(path, near)
    for name in nearby.EXECUTABLES:
        if os.path.lexists(path / name):
            return executable_at(path / name, near)
    searched = (f"{path / 'bin/python'}: does not exist",)
    if nearby.is_venv_of_windows(path):
        advice = near() or "a venv that was made on this machine"
        raise not_found(f"{path} is a venv of Windows", searched, advice)
    has_others = {*_names(path)} - {"bin", "include", "lib", "lib64", "pyvenv.cfg", "share"}
    advice = f"python -m venv {path}" if not has_others else "the folder of a venv, or its bin/python"
    raise not_found(f"{path} is not a venv", searched, near() or advice)


def executable_at(path: Path, near: Near = lambda: None) -> Path:
    """This path, if it is an executable. Raises InterpreterNotFound."""
    if os.access(path, os.X_OK) and not os.path.isdir(path):
        return path
    if os.path.islink(path) and not os.path.exists(path):
        what = f"{path} is a link to {os.readlink(path)}, which does not exist"
        raise not_found(what, (), "rebuild this venv")
    if os.path.exists(path):
        raise not_found(f"{path} is not an executable file", (), near() or "the folder of a venv, or its bin/python")
    raise not_found(f"{path} does not exist", (), near() or _another_path(path))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return []


def _another_path(path: Path) -> str:
    if "$" in str(path):
        return "the path itself, or ~ for your home folder: variables such as $HOME are not replaced in envs.toml"
    if os.path.isdir(path.parent):
        return f"python -m venv {path}"
    return f"another path; {path.parent} does not exist either (relative paths start from the folder of envs.toml)"
