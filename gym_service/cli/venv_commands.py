"""The parsers of the commands about venvs: ``sync``.

Knows arguments. Never knows how any of it is done: what a command needs is imported when it runs, so that --help is
there at once. Python 3.10 and up.
"""

import argparse
from pathlib import Path
from typing import TypeAlias

from gym_service.cli.help_format import HelpFormatter

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

ENVS_HELP = "an envs.toml (default: the one that gym.make uses)"


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    _add_sync(commands)


def _add(commands: Commands, name: str, about: str, more: str) -> argparse.ArgumentParser:
    description = f"{about[0].upper()}{about[1:]}. {more}"
    return commands.add_parser(name, help=about, description=description, formatter_class=HelpFormatter)


def _add_sync(commands: Commands) -> None:
    more = (
        "Builds several at once. A venv that exists is not changed. A build that was interrupted starts again. "
        "If there is an envs.lock beside envs.toml, its versions are installed, unless envs.toml has changed since."
    )
    parser = _add(commands, "sync", "build the interpreters that envs.toml describes", more)
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries or interpreters (default: all of them)")
    parser.add_argument("--envs", type=Path, metavar="FILE", help=ENVS_HELP)
    parser.add_argument(
        "--locked", action="store_true", help="fail unless the versions of envs.lock are installed, and no others"
    )
    parser.add_argument("--rebuild", action="store_true", help="build again what exists already")
    parser.add_argument(
        "-j", "--jobs", type=_jobs, metavar="N", help="builds at once (default: one for each processor)"
    )
    parser.set_defaults(command=_sync)


def _jobs(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return count


def _sync(arguments: argparse.Namespace) -> int:
    from gym_service.cli import sync

    return sync.sync(arguments)
