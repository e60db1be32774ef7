"""Finds the executable of an interpreter that is named by a conda env, a version, or a command on PATH.

Knows where they are searched for. Never knows envs.toml or how a server is started. Python 3.10 and up.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from gym_service_launcher.interpreters import discovery, nearby
from gym_service_launcher.interpreters.diagnosis import OLDEST_PYTHON
from gym_service_launcher.interpreters.find_path import executable_at, not_found
from gym_service_launcher.spelling import nearest


def find(python: str, folder: Path, written: Callable[[str], str]) -> Path:
    """As ``find_interpreter``, for what is no path."""
    if python.startswith("conda:"):
        return _conda(python[len("conda:") :])
    if discovery.VERSION.fullmatch(python):
        return _version(python)
    return _command(python, folder, written)


def _command(name: str, folder: Path, written: Callable[[str], str]) -> Path:
    executable = shutil.which(name)
    if executable:
        try:
            return discovery.query_version(executable)[1]
        except ValueError as error:
            searched = (f"PATH: {executable} {error}",)
            raise not_found(f"{name} is not an interpreter", searched, _as_version(name)) from None
    if os.path.exists(folder / name):
        advice = f"{written(f'./{name}')} (a path starts with ./ or /)"
    else:
        near = nearby.advice(name, folder, written)
        advice = near or 'a venv ("./sim_env"), a version ("3.10"), an executable or "conda:NAME"'
    raise not_found(f"There is no interpreter {name}", (f"PATH: no {name}",), advice)


def _as_version(name: str) -> str:
    version = name.removeprefix("python")
    if version != name and discovery.VERSION.fullmatch(version):
        return f'python = "{version}" (a version is also searched for in pyenv, conda and uv)'
    return "the full path of an interpreter that runs"


def _conda(name: str) -> Path:
    envs = discovery.conda_envs()
    if name in envs:
        return executable_at(envs[name] / "bin/python")
    roots = ", ".join(str(root) for root in discovery.conda_roots())
    searched = (
        f"conda's folders: {roots or 'none found'}",
        f"~/.conda/environments.txt and ~/.conda/envs: they have {', '.join(sorted(envs)) or 'none'}",
    )
    near = nearest(name, envs)
    advice = f'python = "conda:{near}"' if near else f"conda create -n {name} python=3.10 numpy gymnasium"
    raise not_found(f"There is no conda env {name}", searched, advice)


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
    if tuple(int(part) for part in wanted.split(".")) < OLDEST_PYTHON[: wanted.count(".") + 1]:
        advice = "a newer Python: the oldest that works is Python 3.6"
        raise not_found(f"There is no Python {wanted}", searched, advice)
    # uv offers no CPython older than 3.8.
    tool = "pyenv" if re.match(r"2|3\.[0-7]\b", wanted) else "uv python"
    raise not_found(f"There is no Python {wanted}", searched, f"{tool} install {wanted}")


def _none_found(source: str, wanted: str) -> str:
    if source == "PATH":
        return f"no {discovery.command(wanted)}"
    if source == "pyenv":
        return f"no {wanted} in {discovery.pyenv_root() / 'versions'}"
    if source == "conda":
        roots = ", ".join(str(root) for root in discovery.conda_roots())
        return f"no {wanted} at {roots}" if roots else "not installed"
    return f"no {wanted}" if discovery.find_uv() else "not installed"
