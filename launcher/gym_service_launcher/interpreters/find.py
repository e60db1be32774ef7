"""Finds the executable of an interpreter that the user named.

Knows the forms in which users name one. Never knows envs.toml or how a server is started. Python 3.10 and up.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from gym_service_launcher.interpreters import find_path, nearby

# A path in the form in which the user has written ``python``.
Written = Callable[[str], str]


def as_key(path: str) -> str:
    """A path as the user writes it in envs.toml and in Python."""
    return f"python = {json.dumps(path, ensure_ascii=False)}"


def find_interpreter(python: str, folder: Path, written: Written = as_key) -> Path:
    """Find the executable that ``python`` names. A path is returned unchanged; any other executable is run once.

    Blocks for some 20 ms for each interpreter that it runs, at most 20 s.

    Args:
        python: a venv folder or an executable (relative to ``folder``), ``conda:NAME``, a version such as ``3.10`` or
            ``3.10.13``, or the name of a command on PATH.
        folder: the folder that relative paths start from.
        written: puts a path in the form in which the user has written ``python``, for the advice of the error.

    Raises:
        InterpreterNotFound: there is no such interpreter. The text lists each place that was searched, and what to try.
    """
    if not python.startswith("conda:") and ("/" in python or python[:1] in (".", "~")):
        path = Path(os.path.normpath(os.path.join(folder, os.path.expanduser(python))))
        return find_path.interpreter_at(path, lambda: nearby.advice(python, folder, written))
    from gym_service_launcher.interpreters import find_named  # a path, as most entries have, needs less

    return find_named.find(python, folder, written)
