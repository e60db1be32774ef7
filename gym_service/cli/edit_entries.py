"""``gym-service init``, ``add NAME``, ``add --venv`` and ``remove``: write and change envs.toml.

Knows the keys of an entry as options, and what a survey says of an interpreter. Never knows TOML
(``envs_editor.py``). Python 3.10 and up.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError, GymServiceError
from gym_service_launcher.interpreters.environment import environment_at
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.interpreters.survey import Survey, survey

from gym_service.cli import envs_editor
from gym_service.cli.tables import print_columns

NAME = re.compile(r"[\w.-]+")
MOST_OFFERED = 40
EXAMPLE = f"""\
{envs_editor.SCHEMA_LINE}
# Each [envs."NAME"] table is an env: gym.make("gym_service/NAME"). docs/configuration.md explains the keys.
#
#   gym-service add --venv ./sim_env                                     an env of an interpreter that exists
#   gym-service add PushT-v0 --python 3.10 --requires gym-pusht --id gym_pusht/PushT-v0 --import gym_pusht
#   gym-service check                                                    does it work?
#
# [interpreters.sim]
# python   = "3.10"
# requires = ["gym-pusht", "gymnasium<1"]
#
# [envs."PushT-v0"]
# interpreter = "sim"
# id          = "gym_pusht/PushT-v0"
# imports     = ["gym_pusht"]
"""


def init(arguments: argparse.Namespace) -> int:
    """Write an envs.toml to start from. Returns the exit code."""
    file = arguments.file or Path("envs.toml")
    file = file / "envs.toml" if file.is_dir() else file
    if file.exists():
        raise GymServiceError(f"{file} exists and is not changed\n  try: gym-service add, or another path")
    envs_editor.write(file, EXAMPLE)
    print(f"{file.absolute()}: written\n  try: gym-service add --venv ./sim_env")
    return 0


def add(arguments: argparse.Namespace) -> int:
    """Add an entry that the options describe. Returns the exit code."""
    file = _file(arguments)
    keys = _keys(arguments)
    name = arguments.what
    if not name and not arguments.venv:
        raise GymServiceError("the name of the entry is missing\n  try: gym-service add NAME --python ./sim_env")
    if "python" in keys and not any(key in keys for key in ("requires", "command", "entry_point")):
        completed = _completed(keys, name, file, may_ask=bool(arguments.venv))
        if completed is None:
            return 2
        keys = completed
    elif "python" in keys:
        keys = {**keys, "python": _from_file(keys["python"], file)}
    if not name and "id" not in keys:
        raise GymServiceError("the name of the entry is missing\n  try: gym-service add NAME, with the same options")
    name = name or keys["id"].rpartition(":")[2].rpartition("/")[2]
    entry = _checked(name, keys, file)
    if keys.get("id") == name:
        del keys["id"]
    envs_editor.write(file, envs_editor.with_entry(envs_editor.read(file), name, keys))
    print(f"added {name} to {file}")
    print(f"  try: gym-service {'sync' if entry.builds_venv else 'check'} {name}")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Remove entries. Returns the exit code."""
    path = arguments.envs or envs_file.find_or_fail()
    file = envs_file.load(path)
    before = set(envs_file.unused_interpreters(file))
    text = envs_editor.read(file.path)
    for name in arguments.names:
        if name not in file.entries:
            raise envs_file.unknown_entry(file, name)
        text = envs_editor.without_entry(text, name)
    envs_editor.write(file.path, text)
    for name in arguments.names:
        print(f"removed {name} from {file.path}")
    for line in envs_file.unused_interpreters(envs_file.load(path)):
        if line not in before:
            print(line)
    return 0


def _file(arguments: argparse.Namespace) -> Path:
    """The envs.toml that is changed: the one that gym.make uses, else one in this folder."""
    found = arguments.envs or envs_file.find() or Path("envs.toml")
    return Path(found).absolute()


def _keys(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {
        "python": arguments.venv or arguments.python,
        "requires": arguments.requires,
        "address": arguments.address,
        "id": arguments.id,
        "entry_point": arguments.entry_point,
        "imports": arguments.imports,
        "kwargs": arguments.kwargs,
    }
    keys = {key: value for key, value in given.items() if value}
    python = keys.get("python", "")
    if arguments.venv and not python.startswith(("/", ".", "~")):
        keys["python"] = f"./{python}"
    return keys


def _from_file(python: str, file: Path) -> str:
    """The same interpreter, named in the file: a relative path on the command line starts from the current folder."""
    if "/" not in python and python[:1] not in (".", "~"):
        return python
    path = os.path.expanduser(python)
    return python if os.path.isabs(python) or Path.cwd() == file.parent else os.path.abspath(path)


def _checked(name: str, keys: Mapping[str, Any], file: Path) -> Entry:
    """The entry as ``gym.make`` will read it. Raises ConfigError for a mistake or a name that is taken."""
    if not NAME.fullmatch(name):
        raise GymServiceError(
            f"{name!r} is not a name: letters, digits, - _ . only\n  try: --id for the simulator's id"
        )
    if file.exists() and name in envs_file.load(file).entries:
        text = f"{file} has an entry {name!r} already\n  try: another name, or gym-service remove {name}"
        raise ConfigError(text, file=str(file), key=f'envs."{name}"')
    return entries.entry(name, keys, file=file)


# -- what the interpreter is asked -------------------------------------------------------------------------------------


def _completed(keys: dict[str, Any], name: str | None, file: Path, *, may_ask: bool) -> dict[str, Any] | None:
    """The keys with the id, if the user chooses one, and with the import that it needs. None if none was chosen."""
    option = "--venv" if may_ask else "--python"
    executable = find_interpreter(keys["python"], Path.cwd(), lambda path: f"{option} {shlex.quote(path)}")
    keys = {**keys, "python": _from_file(keys["python"], file)}
    wanted = keys.get("id") or (name if not may_ask else None)
    if wanted and keys.get("imports"):
        return keys
    target = environment_at(keys["python"], executable)
    # "module:id" names a module that the simulator's gym.make imports itself.
    prefix, _, bare = (wanted or "").rpartition(":")
    imports = [*keys.get("imports", ()), *([prefix] if prefix else [])]
    found = survey(executable, target.variables, imports=imports, search=True, words=target.words)
    if found is None:
        raise GymServiceError(f"{executable} does not run\n  try: gym-service ids {executable}")
    for one in found.imports:
        if one["name"] == prefix and one["error"]:
            raise _cannot_import(found, prefix, one["error"])
    ids = found.all_ids()
    if wanted is None:
        wanted = _choice(found, {env_id: module for env_id, module in ids.items() if env_id not in found.own})
        if wanted is None:
            return None
    elif keys.get("id") and (bare not in ids or (prefix and ids[bare])):
        near = found.nearest_id(bare)
        advice = f"--id {near}" if near else f"gym-service ids {executable}, or --import with the module that has it"
        raise GymServiceError(f"{executable} has no id {wanted!r}{_unknown_namespace(bare, ids)}\n  try: {advice}")
    keys = {**keys, "id": wanted}
    return {**keys, "imports": [*keys.get("imports", ()), ids[wanted]]} if ids.get(wanted) else keys


def _unknown_namespace(wanted: str, ids: Mapping[str, str]) -> str:
    namespace = wanted.rpartition("/")[0]
    if not namespace or any(env_id.startswith(f"{namespace}/") for env_id in ids):
        return ""
    return f", and no id of the namespace {namespace!r}"


def _cannot_import(found: Survey, module: str, error: str) -> GymServiceError:
    text = f"{module} in {found.executable} cannot be imported: {error}"
    return GymServiceError(f"{text}\n  try: {found.executable} -c 'import {module}'")


def _choice(found: Survey, offered: Mapping[str, str]) -> str | None:
    """The id that the user chooses on the terminal; None, and the ids on stderr, without one."""
    if not offered and found.failed:
        raise _cannot_import(found, *next(iter(found.failed.items())))
    if not offered:
        text = f"no package in {found.executable} registers ids: it has the {len(found.own)} ids of gymnasium itself"
        raise GymServiceError(f"{text}\n  try: --id CartPole-v1, or --import with the module that registers ids")
    if len(offered) == 1:
        return next(iter(offered))
    names = sorted(offered)
    for number, env_id in enumerate(names[:MOST_OFFERED], 1):
        print(f"{number:3}  {env_id}", file=sys.stderr)
    if len(names) > MOST_OFFERED:
        print(f"     and {len(names) - MOST_OFFERED} more: gym-service ids {found.executable}", file=sys.stderr)
    if not sys.stdin.isatty():
        print("without a terminal, --id says which one", file=sys.stderr)
        return None
    answer = input("Which one (its number or id)? ").strip()
    if answer.isdigit() and 1 <= int(answer) <= len(names):
        return names[int(answer) - 1]
    if answer in offered:
        return answer
    print("nothing was added", file=sys.stderr)
    return None


# -- ids ---------------------------------------------------------------------------------------------------------------


def show_ids(arguments: argparse.Namespace) -> int:
    """Print the ids that an interpreter can make, and the import that each needs. Returns the exit code."""
    executable = find_interpreter(arguments.interpreter, Path.cwd(), shlex.quote)
    target = environment_at(arguments.interpreter, executable, arguments.pythonpath or ())
    imports = arguments.imports or ()
    found = survey(executable, target.variables, imports=imports, search=True, words=target.words)
    if found is None:
        raise GymServiceError(f"{executable} does not run, or took too long\n  try: {executable} --version")
    ids = found.all_ids()
    shown = {env_id: ids[env_id] for env_id in sorted(ids) if arguments.all or env_id not in found.own}
    if arguments.json:
        rows = [{"id": env_id, "import": module or None} for env_id, module in shown.items()]
        print(json.dumps({"interpreter": str(executable), "ids": rows, "packages": dict(found.packages)}, indent=1))
        return 0
    print_columns([(env_id, f'imports = ["{module}"]' if module else "") for env_id, module in shown.items()])
    failed = [one for one in found.imports if one["error"]]
    for one in failed:
        print(f"{one['name']}: {one['error']}", file=sys.stderr)
    for module, error in found.failed.items():
        print(f"{module} cannot be imported: {error}", file=sys.stderr)
    if not arguments.all:
        print(f"and {len(found.own)} of gym or gymnasium itself, which --all shows", file=sys.stderr)
    return int(bool(failed))
