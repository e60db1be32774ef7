"""The parsers of the commands that write envs.toml: ``init``, ``add``, ``remove``; and ``ids`` and ``schema``.

Knows arguments. Never knows how any of it is done: what a command needs is imported when it runs, so that --help is
there at once. Python 3.10 and up.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gym_service_launcher.errors import GymServiceError

from gym_service.cli.help_format import Commands, add_command

ENVS_HELP = "an envs.toml (default: the one that gym.make uses)"


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    _add_init(commands)
    _add_add(commands)
    _add_remove(commands)
    _add_ids(commands)
    _add_schema(commands)


def _add_init(commands: Commands) -> None:
    parser = add_command(commands, "init", "write an envs.toml to start from", "A file that exists is not changed.")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the file (default: ./envs.toml)")
    parser.set_defaults(command=_init)


def _add_add(commands: Commands) -> None:
    more = (
        "NAME is your own name for the env. With --venv the interpreter is asked for its ids, and the import that an "
        "id needs is found. A bundle is shown first, and you are asked. Comments and other entries stay as they are."
    )
    parser = add_command(commands, "add", "add an entry to envs.toml", more)
    parser.add_argument("what", nargs="?", metavar="NAME|BUNDLE", help="a name, or a file of gym-service export")
    parser.add_argument("--venv", metavar="PATH", help="an interpreter to ask for its ids: a venv, or an executable")
    parser.add_argument("--python", metavar="PYTHON", help='a venv, an executable, "3.10" or "conda:NAME"')
    parser.add_argument("--requires", nargs="+", action="extend", metavar="REQ", help="what is installed in a new venv")
    parser.add_argument("--id", metavar="ID", help="the id in the simulator's interpreter (default: NAME)")
    parser.add_argument(
        "--import", dest="imports", action="append", metavar="MODULE", help="the module that has the id"
    )
    parser.add_argument("--entry-point", metavar="MODULE:NAME", help="what makes the env, in place of an id")
    parser.add_argument("--kwargs", type=_table, metavar="JSON", help="arguments of the env, such as '{\"size\": 5}'")
    parser.add_argument("--address", metavar="ADDRESS", help="the address of a running gym-service run")
    parser.add_argument("--as", dest="name", metavar="NAME", help="another name for the entry of a bundle")
    parser.add_argument("--yes", action="store_true", help="add a bundle without being asked")
    parser.add_argument("--envs", type=Path, metavar="FILE", help=f"{ENVS_HELP[:-1]}, else ./envs.toml)")
    parser.set_defaults(command=_add_entry)


def _add_remove(commands: Commands) -> None:
    parser = add_command(
        commands, "remove", "remove entries from envs.toml", "Comments and other entries stay as they are."
    )
    parser.add_argument("names", nargs="+", metavar="ENV", help="the entries")
    parser.add_argument("--envs", type=Path, metavar="FILE", help=ENVS_HELP)
    parser.set_defaults(command=_remove)


def _add_ids(commands: Commands) -> None:
    more = "Imports each installed package that needs gym or gymnasium, in a process of that interpreter."
    parser = add_command(commands, "ids", "list the env ids of an interpreter, and the import that each needs", more)
    parser.add_argument("interpreter", metavar="INTERPRETER", help='a venv, an executable, "3.10" or "conda:NAME"')
    parser.add_argument("--import", dest="imports", action="append", metavar="MODULE", help="a module to import first")
    parser.add_argument("--pythonpath", action="append", metavar="FOLDER", help="a folder that it can import from")
    parser.add_argument("--all", action="store_true", help="also those of gym or gymnasium itself")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_ids)


def _add_schema(commands: Commands) -> None:
    more = "Editors that know TOML complete and check the keys by it. The first line of gym-service init names it."
    add_command(commands, "schema", "print the JSON schema of envs.toml", more).set_defaults(command=_schema)


def _table(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    if "null" in text and _has_null(found):
        raise argparse.ArgumentTypeError(f"{text!r} has a null, for which TOML has no form")
    return found


def _has_null(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, inside))


def _init(arguments: argparse.Namespace) -> int:
    from gym_service.cli import edit_entries

    return edit_entries.init(arguments)


def _add_entry(arguments: argparse.Namespace) -> int:
    described = ("venv", "python", "requires", "id", "imports", "entry_point", "kwargs", "address")
    if not any(getattr(arguments, key) for key in described) and arguments.what:
        from gym_service.cli import add

        if not arguments.what.endswith(".toml") and not Path(arguments.what).exists():
            text = f"{arguments.what!r} is no bundle, and nothing says where the env is"
            raise GymServiceError(f"{text}\n  try: gym-service add {arguments.what} --python ./sim_env")
        arguments.bundle = arguments.what
        return add.run(arguments)
    from gym_service.cli import edit_entries

    return edit_entries.add(arguments)


def _remove(arguments: argparse.Namespace) -> int:
    from gym_service.cli import edit_entries

    return edit_entries.remove(arguments)


def _ids(arguments: argparse.Namespace) -> int:
    from gym_service.cli import edit_entries

    return edit_entries.show_ids(arguments)


def _schema(arguments: argparse.Namespace) -> int:
    from gym_service.cli import schema

    print(schema.text(), end="")
    return 0
