"""What a process of a target starts with: its variables, and what comes before its command.

Knows entries, conda envs and activation. Never knows which process it is for. Python 3.10 and up.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.standalone import env_vars, interrupts

CONDA = "conda:"


@dataclass(frozen=True)
class TargetEnvironment:
    """``words`` are put before a command of the target, which is run with ``variables``. No words: run it as it is."""

    variables: dict[str, str]
    words: tuple[str, ...] = field(default=())


def environment_of(entry: Entry, executable: Path) -> TargetEnvironment:
    """The environment of the processes of an entry on this machine. Runs nothing.

    Raises:
        ConfigError: a script of ``activate`` or a file of the conda env cannot be read, a value of ``environ`` cannot
            be expanded, or there is no shell to run scripts.
    """
    steps = _steps(entry)
    inherited: dict[str, str] = env_vars.inherited(os.environ)
    try:
        if not steps:
            return TargetEnvironment(env_vars.complete(executable, entry.environ, entry.pythonpath, inherited))
    except env_vars.BadVariable as error:
        raise _error(entry, "environ", str(error)) from error
    from gym_service_launcher.standalone import activation

    given: tuple[Any, ...] = (executable, steps, entry.environ, entry.pythonpath, str(entry.cwd or ""), inherited)
    try:
        return TargetEnvironment(activation.variables(*given), tuple(activation.words(executable)))
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise _error(entry, "activate", error.strerror or str(error)) from error


def environment_at(python: str | None, executable: Path, pythonpath: Sequence[Path] = ()) -> TargetEnvironment:
    """The environment of an interpreter that a command line names, not an entry. Errors as ``environment_of``."""
    entry = Entry(name=python or str(executable), python=python, pythonpath=tuple(pythonpath))
    return environment_of(entry, executable)


def _steps(entry: Entry) -> list[str]:
    """The steps of the entry's activation: conda's, then its scripts."""
    is_conda = entry.python is not None and entry.python.startswith(CONDA)
    if not (is_conda or entry.activate):
        return []
    from gym_service_launcher.standalone import activation

    steps = _conda_steps(entry) if is_conda else []
    for script in entry.activate:
        if not script.is_file() or not os.access(script, os.R_OK):
            what = "cannot be read" if script.is_file() else "is no file" if script.exists() else "does not exist"
            raise _error(entry, "activate", f"{script} {what}\n  try: the path of a script, such as setup.sh")
        steps.append(activation.source(str(script)))
    return steps


def _conda_steps(entry: Entry) -> list[str]:
    from gym_service_launcher.interpreters import conda_env
    from gym_service_launcher.interpreters.find import find_interpreter

    assert entry.python
    prefix = find_interpreter(entry.python, entry.folder).parent.parent
    try:
        return conda_env.activation_steps(prefix, entry.python[len(CONDA) :], os.environ)
    except ValueError as error:
        raise _error(entry, "python", str(error)) from error


def _error(entry: Entry, key: str, what: str) -> ConfigError:
    key = what.partition(": ")[0] if what.startswith(f"{key}.") else key
    path = f'envs."{entry.name}".{key}' if entry.file else key
    where = f"{entry.file}: {path}" if entry.file else f'given in Python for "{entry.name}": {key}'
    text = f"{where}: {what.removeprefix(f'{key}: ')}"
    return ConfigError(text, file=str(entry.file) if entry.file else None, key=path)
