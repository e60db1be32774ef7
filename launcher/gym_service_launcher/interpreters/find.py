"""Finds the executable of an interpreter that the user named.

Knows venvs, executables, conda envs and versions. Never knows envs.toml or how a server is started. Python 3.10 and up.

A path is never resolved through its links: the real path of venv/bin/python is another interpreter.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gym_service_launcher.errors import InterpreterNotFound
from gym_service_launcher.interpreters import diagnosis, discovery, nearby
from gym_service_launcher.spelling import nearest
from gym_service_launcher.standalone import interrupts

# A path in the form in which the user has written ``python``.
Written = Callable[[str], str]
# What to write in place of a path that leads to no interpreter, if there is one near it.
Near = Callable[[], "str | None"]


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
    if python.startswith("conda:"):
        return _conda(python[len("conda:") :])
    if discovery.VERSION.fullmatch(python):
        return _version(python)
    if "/" in python or python[:1] in (".", "~"):
        path = Path(os.path.normpath(os.path.join(folder, os.path.expanduser(python))))
        return _path(path, lambda: nearby.advice(python, folder, written))
    return _command(python, folder, written)


def _not_found(what: str, searched: Iterable[str], advice: str) -> InterpreterNotFound:
    places = "".join(f"\n    {line}" for line in searched)
    text = f"{what}; searched:{places}" if places else what
    return InterpreterNotFound(f"{text}\n  try: {advice}", file=None, key="python")


def _path(path: Path, near: Near) -> Path:
    if not os.path.isdir(path):
        return _executable(path, near)
    for name in nearby.EXECUTABLES:
        if os.path.lexists(path / name):
            return _executable(path / name, near)
    searched = (f"{path / 'bin/python'}: does not exist",)
    if nearby.is_venv_of_windows(path):
        advice = near() or "a venv that was made on this machine"
        raise _not_found(f"{path} is a venv of Windows", searched, advice)
    has_others = {*_names(path)} - {"bin", "include", "lib", "lib64", "pyvenv.cfg", "share"}
    advice = f"python -m venv {path}" if not has_others else "the folder of a venv, or its bin/python"
    raise _not_found(f"{path} is not a venv", searched, near() or advice)


def _executable(path: Path, near: Near = lambda: None) -> Path:
    if os.access(path, os.X_OK) and not os.path.isdir(path):
        return path
    if os.path.islink(path) and not os.path.exists(path):
        what = f"{path} is a link to {os.readlink(path)}, which does not exist"
        raise _not_found(what, (), "rebuild this venv")
    if os.path.exists(path):
        raise _not_found(f"{path} is not an executable file", (), near() or "the folder of a venv, or its bin/python")
    raise _not_found(f"{path} does not exist", (), near() or _another_path(path))


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


def _command(name: str, folder: Path, written: Written) -> Path:
    executable = shutil.which(name)
    if executable:
        try:
            return discovery.query_version(executable)[1]
        except ValueError as error:
            searched = (f"PATH: {executable} {error}",)
            raise _not_found(f"{name} is not an interpreter", searched, _as_version(name)) from None
    if os.path.exists(folder / name):
        advice = f"{written(f'./{name}')} (a path starts with ./ or /)"
    else:
        near = nearby.advice(name, folder, written)
        advice = near or 'a venv ("./sim_env"), a version ("3.10"), an executable or "conda:NAME"'
    raise _not_found(f"There is no interpreter {name}", (f"PATH: no {name}",), advice)


def _as_version(name: str) -> str:
    version = name.removeprefix("python")
    if version != name and discovery.VERSION.fullmatch(version):
        return f'python = "{version}" (a version is also searched for in pyenv, conda and uv)'
    return "the full path of an interpreter that runs"


def _conda(name: str) -> Path:
    envs = discovery.conda_envs()
    if name in envs:
        return _executable(envs[name] / "bin/python")
    roots = ", ".join(str(root) for root in discovery.conda_roots())
    searched = (
        f"conda's folders: {roots or 'none found'}",
        f"~/.conda/environments.txt and ~/.conda/envs: they have {', '.join(sorted(envs)) or 'none'}",
    )
    near = nearest(name, envs)
    advice = f'python = "conda:{near}"' if near else f"conda create -n {name} python=3.10 numpy gymnasium"
    raise _not_found(f"There is no conda env {name}", searched, advice)


def _version(wanted: str) -> Path:
    sources: dict[str, Callable[[str], Iterator[Path]]] = {
        "PATH": discovery.on_path,
        "pyenv": discovery.in_pyenv,
        "conda": discovery.in_conda,
        "uv": discovery.in_uv,
    }
    searched = []
    for source, candidates in sources.items():
        failed = []
        for candidate in candidates(wanted):
            try:
                version, executable = discovery.query_version(candidate)
            except ValueError as error:
                failed.append(f"{source}: {candidate} {error}")
                continue
            if discovery.matches(version, wanted):
                return executable
            failed.append(f"{source}: {candidate} is {version}")
        searched += failed or [f"{source}: {_none_found(source, wanted)}"]
    if tuple(int(part) for part in wanted.split(".")) < diagnosis.OLDEST_PYTHON[: wanted.count(".") + 1]:
        advice = "a newer Python: the oldest that works is Python 3.6"
        raise _not_found(f"There is no Python {wanted}", searched, advice)
    # uv offers no CPython older than 3.8.
    tool = "pyenv" if re.match(r"2|3\.[0-7]\b", wanted) else "uv python"
    raise _not_found(f"There is no Python {wanted}", searched, f"{tool} install {wanted}")


def _none_found(source: str, wanted: str) -> str:
    if source == "PATH":
        return f"no {discovery.command(wanted)}"
    if source == "pyenv":
        return f"no {wanted} in {discovery.pyenv_root() / 'versions'}"
    if source == "conda":
        roots = ", ".join(str(root) for root in discovery.conda_roots())
        return f"no {wanted} at {roots}" if roots else "not installed"
    return f"no {wanted}" if discovery.find_uv() else "not installed"
