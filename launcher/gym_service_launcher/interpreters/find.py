"""Which interpreter a few words mean.

Knows venvs, executables, conda envs and versions. Never knows envs.toml, how a
server is started, or what it will do. Python 3.10 and up.

A path is never resolved through its links: the real path of venv/bin/python is another interpreter.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gym_service_launcher.errors import InterpreterNotFound
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.spelling import nearest


def find_interpreter(python: str, folder: Path) -> Path:
    """The executable that ``python`` means: a path is taken as it is, anything else was run once.

    Args:
        python: a venv folder or an executable (relative to ``folder``), ``conda:NAME``, a version such
            as ``3.10`` or ``3.10.13``, or the name of a command on PATH.
        folder: where relative paths begin.

    Raises:
        InterpreterNotFound: it is not there; the text names each place that was looked at and what to try.
    """
    if python.startswith("conda:"):
        return _conda(python[len("conda:") :])
    if discovery.VERSION.fullmatch(python):
        return _version(python)
    if "/" in python or python[:1] in (".", "~"):
        return _path(Path(os.path.normpath(os.path.join(folder, os.path.expanduser(python)))))
    return _command(python, folder)


def _not_found(what: str, looked: Iterable[str], advice: str) -> InterpreterNotFound:
    places = "".join(f"\n  {line}" for line in looked)
    text = f"{what}; looked at:{places}" if places else what
    return InterpreterNotFound(f"{text}\nTry: {advice}", file=None, key="python")


def _path(path: Path) -> Path:
    if not path.is_dir():
        return _executable(path)
    for name in ("bin/python", "bin/python3"):
        if os.path.lexists(path / name):
            return _executable(path / name)
    looked = (f"{path / 'bin/python'}: is not there",)
    if os.path.lexists(path / "python"):
        raise _not_found(f"{path} is no venv", looked, f'python = "{path.parent}"')
    raise _not_found(f"{path} is no venv", looked, f"python -m venv {path}")


def _executable(path: Path) -> Path:
    if os.access(path, os.X_OK) and not path.is_dir():
        return path
    if path.is_symlink() and not path.exists():
        what = f"{path} leads to {os.readlink(path)}, which is gone"
        raise _not_found(what, (), "build this venv anew")
    if path.exists():
        raise _not_found(f"{path} is no executable file", (), "the folder of a venv, or its bin/python")
    raise _not_found(f"{path} does not exist", (), _instead(path))


def _instead(path: Path) -> str:
    try:
        near = nearest(path.name, os.listdir(path.parent))
    except OSError:
        return f"another path; {path.parent} does not exist either (relative ones begin beside envs.toml)"
    return f'python = "{path.parent / near}"' if near else f"python -m venv {path}"


def _command(name: str, folder: Path) -> Path:
    executable = shutil.which(name)
    if executable:
        try:
            return discovery.query_version(executable)[1]
        except ValueError as error:
            looked = (f"PATH: {executable} {error}",)
            raise _not_found(f"{name} is no interpreter", looked, _as_version(name)) from None
    advice = 'a venv ("./sim_env"), a version ("3.10"), an executable or "conda:NAME"'
    if os.path.exists(folder / name):
        advice = f'python = "./{name}", since a path begins with ./ or /'
    raise _not_found(f"There is no interpreter {name}", (f"PATH: no {name} in its folders",), advice)


def _as_version(name: str) -> str:
    version = name.removeprefix("python")
    if version != name and discovery.VERSION.fullmatch(version):
        return f'python = "{version}", which is looked for in pyenv, conda and uv too'
    return "the full path of one that runs"


def _conda(name: str) -> Path:
    envs = discovery.conda_envs()
    if name in envs:
        return _executable(envs[name] / "bin/python")
    roots = ", ".join(str(root) for root in discovery.conda_roots())
    looked = (
        f"conda's folders: {roots or 'none found'}",
        f"~/.conda/environments.txt and ~/.conda/envs: their envs are {', '.join(sorted(envs)) or 'none'}",
    )
    near = nearest(name, envs)
    advice = f'python = "conda:{near}"' if near else f"conda create -n {name} python=3.10 numpy gymnasium"
    raise _not_found(f"There is no conda env {name}", looked, advice)


def _version(wanted: str) -> Path:
    sources: dict[str, Callable[[str], Iterator[Path]]] = {
        "PATH": discovery.on_path,
        "pyenv": discovery.in_pyenv,
        "conda": discovery.in_conda,
        "uv": discovery.in_uv,
    }
    looked = []
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
        looked += failed or [f"{source}: {_nothing(source, wanted)}"]
    # uv has no CPython below 3.8.
    tool = "pyenv" if re.match(r"2|3\.[0-7]\b", wanted) else "uv python"
    raise _not_found(f"There is no Python {wanted}", looked, f"{tool} install {wanted}")


def _nothing(source: str, wanted: str) -> str:
    if source == "PATH":
        return f"no {discovery.command(wanted)} in its folders"
    if source == "pyenv":
        return f"no {wanted} in {discovery.pyenv_root() / 'versions'}"
    if source == "conda":
        roots = ", ".join(str(root) for root in discovery.conda_roots())
        return f"no {wanted} at {roots}" if roots else "not installed"
    return f"knows no {wanted}" if discovery.find_uv() else "not installed"
