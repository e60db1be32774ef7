"""What a venv is made from, and what it is called.

Knows requirements and the digests that tell one venv from another. Never knows how a venv is built
(``standalone/venv_builder.py``) or where it lies. Python 3.10 and up.

Two digests, for two questions. ``digest`` says what envs.toml asks for, and is the same on every machine: a lock that
has it is about this venv. ``folder_name`` says what lies in the folder: it also depends on the machine, on the state of
local projects, and on the locked versions.
"""

import hashlib
import json
import os
import platform
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_service_launcher.config.entry import Entry, Interpreter
from gym_service_launcher.config.lock import LockedVenv
from gym_service_launcher.config.requirements import (
    LOCAL,
    Requirements,
    constraints_from_file,
    from_file,
    from_items,
    local_paths,
)
from gym_service_launcher.config.validation import Location
from gym_service_launcher.config.venv_keys import VenvKeys
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.standalone import installed_packages

MOST_LABEL_CHARS = 40
DIGEST_CHARS = 10
# What an old pip needs beside itself to install gym 0.21; they are locked and installed before the rest.
TOOLS = ("pip", "setuptools", "wheel")
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class VenvSpec:
    """What a venv is made from.

    ``python`` is as in an entry: a version, an absolute path or ``conda:NAME``; on the remote side, what it is called
    there. ``folder`` is where relative paths begin. ``whose`` says in errors whose venv it is.
    """

    python: str
    folder: Path
    keys: VenvKeys
    requirements: Requirements
    constraints: tuple[str, ...]
    is_remote: bool = False
    whose: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """What envs.toml asks for, the same on every machine."""
        return _sha256(
            {
                "python": self._portable(self.python),
                "requires": self.keys.requires,
                "lines": self.requirements.lines,
                "local": [[self._portable(word) for word in words] for words in self.requirements.local],
                "options": self.requirements.options,
                "constraints": self.constraints,
                "build_requires": self.keys.build_requires,
                "post": self.keys.post,
            }
        )

    def folder_name(self, locked: LockedVenv | None) -> str:
        """The name of its folder: what people recognise it by, and a hash of all that decides what lies in it."""
        local = [] if self.is_remote else local_paths(self.requirements, self.folder)
        has_place = bool(local or self.keys.post)
        made_from = {
            "spec": self.digest,
            "python": self.python,
            "folder": str(self.folder) if has_place else "",
            "local": [(str(path), _mtimes(path)) for path in local],
            # Homes are shared between machines of different kinds.
            "machine": "" if self.is_remote else (sys.platform, platform.machine()),
            "locked": locked and [(name, one.version, one.hashes, one.source) for name, one in locked.packages.items()],
        }
        return f"{self.label}-{_sha256(made_from)[:DIGEST_CHARS]}"

    @property
    def label(self) -> str:
        """What people recognise it by: the Python, and the first thing that is installed."""
        python = self.python.removeprefix("conda:").rstrip("/").rpartition("/")[2]
        if discovery.VERSION.fullmatch(python):
            python = f"py{python}"
        installed = [*self.requirements.words, *self.requirements.lines]
        first = self.keys.project or (installed[0] if installed else "")
        if not first and self.requirements.local:
            first = self.requirements.local[0][-1]
        found = re.match(r"[\w.-]+", re.split(r"[\[;@=<>!~ ]", first.rstrip("/").rpartition("/")[2])[0])
        text = f"{python}-{found[0] if found else 'empty'}".lower()
        return re.sub(r"[^a-z0-9.]+", "-", text).strip("-.")[:MOST_LABEL_CHARS]

    @property
    def contents(self) -> str:
        """What is installed, for people, without the passwords of an index."""
        items = list(self.keys.requires or ())
        items += [self.keys.requirements.name] if self.keys.requirements else []
        items += [self.keys.project] if self.keys.project else []
        return re.sub(r"(?<=://)[^/\s@]+@", "***@", ", ".join(items)) or "nothing"

    def words(self) -> list[str]:
        """Everything that is installed and stands on no line of a file, as the words of a command."""
        return [*self.requirements.words, *(word for words in self.requirements.local for word in words)]

    def _portable(self, text: str) -> str:
        """A path below the folder of envs.toml as it is written there: the folder is another one elsewhere."""
        return text if self.is_remote else text.replace(f"{self.folder}{os.sep}", "./")


def spec_of(entry: Entry) -> VenvSpec | None:
    """The venv of an entry; None if its interpreter is used as it is.

    Raises:
        ConfigError: a file of requirements cannot be read, or ``project`` is not a Python project.
    """
    if not entry.builds_venv:
        return None
    owner = f'given in Python for "{entry.name}"'
    location = Location(entry.file, entry.folder, owner)
    if entry.file:
        location = location.at("envs").at(entry.name, quoted=True)
    python = entry.python or ("python3" if entry.is_remote else "")
    return _spec(python, entry, location, repr(entry.name), is_remote=entry.is_remote)


def spec_of_interpreter(name: str, interpreter: Interpreter, file: Path) -> VenvSpec | None:
    """The same for an ``[interpreters.NAME]`` table."""
    if not interpreter.builds_venv:
        return None
    location = Location(file, file.parent, str(file)).at("interpreters").at(name)
    return _spec(interpreter.python, interpreter, location, f"[interpreters.{name}]", is_remote=False)


def _spec(python: str, keys: VenvKeys, location: Location, whose: str, *, is_remote: bool) -> VenvSpec:
    found = from_items(keys.requires or (), location.at("requires"))
    if keys.requirements:
        found += from_file(keys.requirements, location.at("requirements"))
    if is_remote and found.lines and local_paths(found, location.folder):
        raise location.at("requirements").error("names a folder of this machine; it cannot be installed elsewhere")
    if keys.project:
        if not is_remote:
            _refuse_no_project(keys.project, location.at("project"))
        found += Requirements(local=(("-e", keys.project),))
    constraints = found.constraints
    if isinstance(keys.constraints, Path):
        constraints += constraints_from_file(keys.constraints, location.at("constraints"))
    elif keys.constraints:
        constraints += keys.constraints
    folder = location.folder
    return VenvSpec(python, folder, keys, found, constraints, is_remote, whose)


def _refuse_no_project(project: str, location: Location) -> None:
    """Raise if a folder has nothing that could be installed, with what could be done instead."""
    path = location.absolute(re.sub(r"\[[^\]]*\]$", "", project))
    if not path.is_dir():
        raise location.error(f"{path} is not a folder")
    if any((path / name).is_file() for name in PROJECT_FILES):
        return
    lists = sorted(file.name for file in path.glob("*requirements*.txt"))
    advice = f'requirements = "{project}/{lists[0]}" and ' if lists else ""
    text = f"{path} has neither pyproject.toml nor setup.py, so that nothing can be installed from it"
    raise ConfigError(
        f'{location.error(text)}\n  try: {advice}pythonpath = ["{project}"] in the entry, without project',
        file=str(location.file) if location.file else None,
        key=location.key,
    )


def exact_order(spec: VenvSpec, locked: LockedVenv) -> dict[str, Any]:
    """The locked versions as ``venv_builder.py`` takes them."""
    before = {installed_packages.canonical(re.split(r"[\[;@=<>!~ ]", item)[0]) for item in spec.keys.build_requires}
    before |= set(TOOLS) if locked.installer == "pip" else set()
    first: list[str] = []
    lines: list[str] = []
    local = [word for words in spec.requirements.local if LOCAL.match(words[-1]) for word in words]
    for name, package in sorted(locked.packages.items()):
        if package.source == "local":
            continue
        if package.source and not package.hashes:
            local.append(package.source)
            continue
        line = " ".join([package.source or f"{name}=={package.version}", *(f"--hash={one}" for one in package.hashes)])
        (first if name in before else lines).append(line)
    return {"first": first, "lines": lines, "local": local, "installer": locked.installer}


def _sha256(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def _mtimes(path: Path) -> list[int]:
    """Changes when a local package says something new about itself. Of its code only ``-e`` notices changes."""
    files = (path, *(path / name for name in PROJECT_FILES))
    return [file.stat().st_mtime_ns for file in files if file.is_file()]
