"""What ``conda activate NAME`` does, as steps of a shell: its variables, then the scripts of ``activate.d``.

Knows the files in which conda and its packages keep variables and scripts. Never runs conda, which need not be
installed. Python 3.10 and up.

The source is conda's ``activate.py``. The env that is active in the client is left first, as conda leaves it.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from gym_service_launcher.standalone import activation, interrupts

# What ``conda env config vars unset`` writes in place of a value.
UNSET = "***unset***"
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def activation_steps(prefix: Path, name: str, variables: Mapping[str, str]) -> list[str]:
    """The steps that activate a conda env.

    Args:
        prefix: its folder.
        name: what conda calls it.
        variables: those of the client.

    Raises:
        ValueError: one of its files of variables is damaged. The text names it.
    """
    active = variables.get("CONDA_PREFIX", "")
    level = variables.get("CONDA_SHLVL", "0")
    depth = int(level) if level.isdecimal() and active else 0
    path = [folder for folder in variables.get("PATH", os.defpath).split(os.pathsep) if folder != f"{active}/bin"]
    facts = {
        "PATH": os.pathsep.join([str(prefix / "bin"), *path]),
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": name,
        "CONDA_PROMPT_MODIFIER": f"({name}) ",
        "CONDA_SHLVL": str(depth if active == str(prefix) else depth + 1),
    }
    if depth and active != str(prefix):
        facts[f"CONDA_PREFIX_{depth}"] = active
    steps = _deactivation(Path(active)) if depth else []
    for key, value in {**facts, **_variables(prefix)}.items():
        steps.append(activation.unset(key) if value == UNSET else activation.export(key, value))
    return steps + [activation.source(str(script)) for script in _scripts(prefix, "activate.d")]


def _deactivation(prefix: Path) -> list[str]:
    scripts = [activation.source(str(script)) for script in reversed(_scripts(prefix, "deactivate.d"))]
    try:
        return scripts + [activation.unset(name) for name in _variables(prefix)]
    except ValueError:
        return scripts  # it is not the env that the user asked for


def _scripts(prefix: Path, folder: str) -> list[Path]:
    return sorted((prefix / "etc/conda" / folder).glob("*.sh"))


def _variables(prefix: Path) -> dict[str, str]:
    """The variables of its packages, then those of ``conda env config vars set``, which override them."""
    found: dict[str, str] = {}
    for file in [*sorted((prefix / "etc/conda/env_vars.d").glob("*.json")), prefix / "conda-meta/state"]:
        try:
            data = json.loads(file.read_text("utf-8"))
        except FileNotFoundError as error:
            interrupts.raise_if_from_handler(error)
            continue
        except (OSError, ValueError) as error:
            interrupts.raise_if_from_handler(error)
            raise ValueError(f"{file} cannot be read: {error}") from error
        if file.name == "state":
            data = data.get("env_vars", {}) if isinstance(data, dict) else None
        if not isinstance(data, dict):
            raise ValueError(f"{file} holds no variables")
        found |= {str(name): str(value) for name, value in data.items() if NAME.fullmatch(str(name))}
    return found
