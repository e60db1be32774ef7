"""What is installed in a target, and which env ids its modules register: runs ``standalone/survey.py`` there.

Knows how the program is run and what it answers. Never knows what is wrong with an env (``causes.py``). Python 3.10 and
up.

A survey imports simulators, so it takes as long as their imports. It runs where an env could not be made, and for the
commands that ask for ids.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import GymServiceError
from gym_service_launcher.interpreters.environment import environment_of
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.spelling import nearest
from gym_service_launcher.standalone import interrupts

PROGRAM = Path(__file__).parent.parent / "standalone" / "survey.py"
# Seconds. Imports of large simulators take some ten on a cold disk.
TIMEOUT_S = 60.0
VERSION = re.compile(r"-v\d+$")


@dataclass(frozen=True)
class Survey:
    """What a target holds.

    ``python`` is its version. ``packages`` has versions by package, ``modules`` the package of each top-level module,
    ``importable`` all top-level modules. ``own`` are the ids that gym or gymnasium registers itself, ``ids`` those that
    are registered after the imports of the entry, ``found_in`` the ids that the import of another installed module
    would add, and ``failed`` why such a module cannot be imported. ``plugins`` maps the entry points of Gymnasium's
    former plugin groups to their packages. ``parameters`` and ``render_modes`` are those of the env's creator,
    ``names`` what the module of its entry point holds; None where they are unknown.
    """

    executable: Path
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    importable: Sequence[str] = ()
    imports: Sequence[Mapping[str, Any]] = ()
    own: Sequence[str] = ()
    ids: Sequence[str] = ()
    found_in: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    parameters: Sequence[str] | None = None
    render_modes: Sequence[str] | None = None
    names: Sequence[str] | None = None

    def version(self, package: str) -> str | None:
        """The version of a package, whichever way its name is written."""
        wanted = _canonical(package)
        return next((version for name, version in self.packages.items() if _canonical(name) == wanted), None)

    def is_at_least(self, package: str, major: int) -> bool:
        """Whether the package is installed, in this major version or a newer one."""
        first = (self.version(package) or "").partition(".")[0]
        return first.isdigit() and int(first) >= major

    def is_python_before(self, *version: int) -> bool:
        """Whether its Python is known, and older than this version."""
        own = tuple(int(part) for part in self.python.split(".")) if self.python else version
        return own < version

    def all_ids(self) -> dict[str, str]:
        """Each id, with the module that has to be imported for it; empty for those that are registered already."""
        needs = {env_id: module for module, ids in self.found_in.items() for env_id in ids}
        return {**needs, **dict.fromkeys(self.ids, "")}

    def nearest_id(self, wanted: str) -> str | None:
        """The id that was probably meant: the same name elsewhere or in another version, or another spelling.

        None for a namespace that is not here under any spelling: its package is missing, and no other id was meant.
        """
        ids = self.all_ids()
        for env_id in ids:
            if _bare(env_id) == _bare(wanted):
                return env_id
        namespace = wanted.rpartition("/")[0]
        if namespace and nearest(namespace, {env_id.rpartition("/")[0] for env_id in ids}) is None:
            return None
        for form in (str, _bare):
            # Without versions, which would make any two ids alike.
            names = {env_id: VERSION.sub("", form(env_id)) for env_id in ids}
            near = nearest(VERSION.sub("", form(wanted)), set(names.values()))
            if near is not None:
                alike = [env_id for env_id, name in names.items() if name == near]
                return nearest(wanted, alike) or alike[-1]
        return None


def _bare(env_id: str) -> str:
    return env_id.rpartition("/")[2].lower()


def survey(
    executable: Path,
    env: Mapping[str, str],
    *,
    imports: Sequence[str] = (),
    env_id: str | None = None,
    entry_point: str | None = None,
    search: bool = False,
    cwd: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    words: Sequence[str] = (),
) -> Survey | None:
    """Survey a target, with ``env`` and ``words`` of its ``TargetEnvironment``. Blocks for ``timeout_s`` at most.

    Returns None if the interpreter does not run. If an import ends the process or takes too long, what was found before
    is returned. Nothing that was started is left.
    """
    task = {"imports": list(imports), "id": env_id, "entry_point": entry_point, "search": search}
    try:
        process = subprocess.Popen(
            [*words, str(executable), str(PROGRAM), json.dumps(task)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return None
    with process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
            _kill_left(process)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            output, _ = process.communicate()
        except BaseException:
            _kill_group(process)
            raise
    return _survey(executable, os.fsdecode(output))


def survey_of(entry: Entry, *, search: bool = False) -> Survey | None:
    """Survey the interpreter of an entry, with its imports.

    None if it is not on this machine, is not built or cannot be activated.
    """
    executable = executable_if_local(entry)
    if executable is None or (entry.cwd and not entry.cwd.is_dir()):
        return None
    try:
        environment = environment_of(entry, executable)
    except GymServiceError:
        return None
    return survey(
        executable,
        environment.variables,
        words=environment.words,
        imports=entry.imports,
        env_id=None if entry.entry_point else entry.id,
        entry_point=entry.entry_point,
        search=search,
        cwd=entry.cwd,
    )


def executable_if_local(entry: Entry) -> Path | None:
    """The interpreter of an entry on this machine, if it exists. Builds nothing."""
    if entry.is_remote or not entry.python:
        return None
    try:
        if not entry.builds_venv:
            return find_interpreter(entry.python, entry.folder)
        from gym_service_launcher.interpreters import venvs

        return venvs.find_built(entry)
    except GymServiceError:
        return None


def _kill_left(process: "subprocess.Popen[bytes]") -> None:
    """Kill what an activation script has left running. As long as it runs, the id is that of no other group."""
    with interrupts.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:  # it is not reaped yet, so the id cannot belong to another group
        with interrupts.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _survey(executable: Path, output: str) -> Survey | None:
    for line in reversed(output.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue  # the process ended while it wrote the line
        return Survey(executable, **found)
    return None


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
