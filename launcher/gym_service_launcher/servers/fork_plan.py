"""What the fork server of an entry is made of.

Knows entries and the recipe of a fork server. Never knows how one is started. Python 3.10 and up.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters.environment import environment_of
from gym_service_launcher.processes import forkservers
from gym_service_launcher.servers.program import server_program

# What changes with a venv, or with a conda env.
VENV_FILES = ("pyvenv.cfg", "conda-meta/history", "conda-meta/state")


def plan_of(entry: Entry, executable: Path) -> forkservers.Plan:
    """The plan of an entry. Raises OSError where the working directory was deleted, ConfigError as environment_of."""
    recipe = {
        "id": entry.id,
        "imports": entry.imports,
        "argv": entry.argv,
        "setup": entry.setup,
        "entry_point": entry.entry_point,
        "api": entry.api,
        # A callable is loaded where it is called.
        "wrappers": [name for name in map(_name_of_wrapper, entry.wrappers) if name],
    }
    environment = environment_of(entry, executable)
    command = [*environment.words, str(executable), "-u"]
    is_shown = entry.output == "show"
    given = command, server_program(), recipe, environment.variables, entry.cwd
    if entry.keep_warm_s is None:
        return forkservers.plan(*given, show=is_shown)
    files = [executable, *(executable.parent.parent / name for name in VENV_FILES), *entry.activate]
    return forkservers.plan(*given, show=is_shown, keep_warm_s=entry.keep_warm_s, files=files)


def _name_of_wrapper(wrapper: Any) -> str:
    wrapper = wrapper["wrapper"] if isinstance(wrapper, Mapping) else wrapper
    return wrapper if isinstance(wrapper, str) else ""
