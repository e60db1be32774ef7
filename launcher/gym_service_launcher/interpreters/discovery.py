"""The Pythons of this machine: those on PATH and those of pyenv, conda and uv.

Knows where these four keep interpreters, and runs an interpreter to ask for its version. Never knows envs.toml, nor
which packages an interpreter has. Python 3.10 and up.

A path is never resolved through its links: the real path of venv/bin/python is another interpreter.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gym_service_launcher.standalone import interrupts
from gym_service_launcher.standalone.env_vars import without_python_vars

VERSION = re.compile(r"\d+(\.\d+){0,2}")

# Seconds. A cold interpreter on a network file system takes some; a shim that asks a question never ends.
VERSION_TIMEOUT_S = 20.0

# Runs on every Python from 2.7 on. It prints sys.executable because the executable on PATH may be a shim.
PRINT_VERSION = "import sys; sys.stdout.write('%d.%d.%d %s' % (sys.version_info[:3] + (sys.executable,)))"

CONDA_ROOTS = tuple(
    f"{folder}/{name}"
    for folder in ("~", "/opt", "~/.local/share", "/usr/local")
    for name in ("miniforge3", "mambaforge", "miniconda3", "anaconda3", "conda", "micromamba", "mamba")
)


def query_version(executable: str | Path) -> tuple[str, Path]:
    """Run an interpreter and return its version and its ``sys.executable``.

    Blocks for some 20 ms, at most 20 s.

    Raises:
        ValueError: it does not run, or it is not a Python. The text is the reason.
    """
    try:
        ran = subprocess.run(
            [str(executable), "-E", "-S", "-c", PRINT_VERSION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=without_python_vars(os.environ),
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"does not answer within {VERSION_TIMEOUT_S:g} s") from None
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise ValueError(f"does not run: {error.strerror}") from error
    version, _, path = os.fsdecode(ran.stdout).partition(" ")
    if ran.returncode == 0 and VERSION.fullmatch(version):
        return version, Path(path or executable)
    errors = os.fsdecode(ran.stderr).strip().splitlines()
    raise ValueError(f"does not run: {errors[0] if errors else f'exit code {ran.returncode}'}")


def matches(version: str, wanted: str) -> bool:
    """Whether ``version`` satisfies ``wanted``: 3.10.13 satisfies 3.10, but not 3.1."""
    return f"{version}.".startswith(f"{wanted}.")


def command(wanted: str) -> str:
    """The command pythonX.Y, also for X.Y.Z: no installation has a command such as python3.10.13."""
    return "python" + ".".join(wanted.split(".")[:2])


def on_path(wanted: str) -> Iterator[Path]:
    """The pythonX.Y in each absolute folder of PATH."""
    for folder in os.get_exec_path():
        executable = shutil.which(command(wanted), path=folder) if os.path.isabs(folder) else None
        if executable:
            yield Path(executable)


def pyenv_root() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))


def in_pyenv(wanted: str) -> Iterator[Path]:
    """The matching versions of pyenv, newest patch first."""
    folders = pyenv_root().glob("versions/*/bin/python")
    versions = {path: path.parent.parent.name for path in folders}
    matching = [path for path, name in versions.items() if VERSION.fullmatch(name) and matches(name, wanted)]
    yield from sorted(matching, key=lambda path: _numbers(versions[path]), reverse=True)


def conda_roots() -> list[Path]:
    """The folders of conda, mamba and micromamba installations, from variables, PATH and the usual places."""
    variables = os.environ
    named = [variables.get("MAMBA_ROOT_PREFIX"), variables.get("CONDA_ROOT")]
    for tool in (variables.get("CONDA_EXE"), shutil.which("conda"), shutil.which("mamba")):
        named.append(str(Path(tool).parent.parent) if tool else None)
    active = variables.get("CONDA_PREFIX")
    if active:
        folder = Path(active)
        named.append(str(folder.parent.parent if folder.parent.name == "envs" else folder))
    usual = [os.path.expanduser(root) for root in CONDA_ROOTS]
    return [Path(root) for root in dict.fromkeys(filter(None, [*named, *usual])) if os.path.isdir(root)]


def in_conda(wanted: str) -> Iterator[Path]:
    """The root Pythons that match. Not those of conda envs: to choose one of them would be a guess."""
    for root in conda_roots():
        if any(matches(version, wanted) for version in _conda_versions(root)):
            yield root / "bin/python"


def conda_envs() -> dict[str, Path]:
    """The conda envs by name, including ``base``. Each is a folder with bin/python."""
    prefixes: dict[str, Path] = {}
    for prefix in _conda_prefixes():
        if os.path.exists(prefix / "bin/python"):
            prefixes.setdefault(prefix.name, prefix)
    for root in conda_roots():
        if os.path.exists(root / "bin/python"):
            prefixes.setdefault("base", root)
    return prefixes


def find_uv() -> tuple[str, ...] | None:
    """The command that starts uv: from PATH, beside this Python, or as a module of it; None if there is none."""
    beside = Path(sys.executable).parent / "uv"
    executable = shutil.which("uv") or (str(beside) if os.access(beside, os.X_OK) else None)
    if executable:
        return (executable,)
    return (sys.executable, "-m", "uv") if importlib.util.find_spec("uv") else None


def in_uv(wanted: str) -> Iterator[Path]:
    """The installed Python that uv chooses. Downloads nothing."""
    uv = find_uv()
    if uv is None:
        return
    # Neither a download, nor the venv or project of the working directory.
    find = [*uv, "python", "find", "--no-python-downloads", "--no-project", "--system", wanted]
    ran = subprocess.run(
        find, stdin=subprocess.DEVNULL, capture_output=True, env=without_python_vars(os.environ), check=False
    )
    if ran.returncode == 0:
        yield Path(os.fsdecode(ran.stdout).strip())


def find_versions() -> list[tuple[str, Path]]:
    """Every Python of PATH, pyenv and the conda roots that runs: one per version, oldest first.

    Blocks for some 20 ms for each.
    """
    found: dict[str, Path] = {}
    minors = [f"3.{minor}" for minor in range(30)]
    for wanted in ["2.7", *minors]:
        for executable in [*in_pyenv(wanted), *on_path(wanted), *in_conda(wanted)]:
            try:
                version, path = query_version(executable)
            except ValueError:
                continue
            found.setdefault(version, path)
    return sorted(found.items(), key=lambda item: _numbers(item[0]))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _conda_versions(root: Path) -> list[str]:
    names = [path.name.split("-") for path in root.glob("conda-meta/python-*.json")]
    return [name[1] for name in names if len(name) > 2]


def _conda_prefixes() -> Iterator[Path]:
    active = os.environ.get("CONDA_PREFIX")
    if active:
        yield Path(active)
    folders = os.environ.get("CONDA_ENVS_PATH") or os.environ.get("CONDA_ENVS_DIRS") or ""
    parents = [Path(folder) for folder in folders.split(os.pathsep) if folder]
    parents += [root / "envs" for root in conda_roots()] + [Path(os.path.expanduser("~/.conda/envs"))]
    for parent in parents:
        yield from sorted(parent.glob("*"))
    try:
        lines = Path(os.path.expanduser("~/.conda/environments.txt")).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        interrupts.raise_if_from_handler(error)
        return
    yield from (Path(line.strip()) for line in lines if line.strip())
