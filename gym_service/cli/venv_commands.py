"""The parsers of the commands about venvs: ``sync``, ``lock`` and ``cache``.

Knows arguments. Never knows how any of it is done: what a command needs is imported when it runs, so that --help is
there at once. Python 3.10 and up.
"""

import argparse
from pathlib import Path

from gym_service.cli.help_format import Commands, add_command

ENVS_HELP = "an envs.toml (default: the one that gym.make uses)"


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    _add_sync(commands)
    _add_lock(commands)
    _add_cache(commands)
    _add_export(commands)


def _add_sync(commands: Commands) -> None:
    more = (
        "Builds several at once. A venv that exists is not changed. A build that was interrupted starts again. "
        "If there is an envs.lock beside envs.toml, its versions are installed, unless envs.toml has changed since."
    )
    parser = add_command(commands, "sync", "build the interpreters that envs.toml describes", more)
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


def _add_lock(commands: Commands) -> None:
    more = (
        "Writes envs.lock beside envs.toml: the version and the hashes of every package, the Python, and a hash of a "
        "short seeded play of each entry, which is the same wherever the simulator gives the same values. Builds what "
        "is missing. Other people install the same with gym-service sync --locked."
    )
    parser = add_command(commands, "lock", "write the exact versions that are installed to envs.lock", more)
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries or interpreters (default: all of them)")
    parser.add_argument("--envs", type=Path, metavar="FILE", help=ENVS_HELP)
    parser.add_argument("--upgrade", action="store_true", help="build again with the newest versions first")
    parser.add_argument("--no-play", action="store_true", help="write no parity hashes")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a version or a hash is another one"
    )
    parser.add_argument(
        "-j", "--jobs", type=_jobs, metavar="N", help="builds at once (default: one for each processor)"
    )
    parser.set_defaults(command=_lock)


def _add_export(commands: Commands) -> None:
    more = "The file holds the entry, its part of envs.lock, and the modules in its pythonpath."
    parser = add_command(commands, "export", "write an entry to a file for others", more)
    parser.add_argument("name", metavar="ENV", help="the entry")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the bundle, such as bundle.toml")
    parser.add_argument("--envs", type=Path, metavar="FILE", help=ENVS_HELP)
    parser.set_defaults(command=_export)


def _add_cache(commands: Commands) -> None:
    more = "Each venv has the name of its Python and of the first package that is installed into it."
    parser = add_command(commands, "cache", "list or remove the venvs that were built", more)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = add_command(
        actions, "list", "list the venvs and the entries that ask for them", "Sizes are those of the files."
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=_cache_list)
    more = "Removes what a killed build left, and what no envs.toml asks for any more. A venv in use is kept."
    prune = add_command(actions, "prune", "remove the venvs that are not needed", more)
    prune.add_argument(
        "--unused-for", type=float, metavar="DAYS", help="also remove venvs that were not used for this long"
    )
    prune.add_argument("--all", action="store_true", help="remove all venvs that are not in use")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    prune.set_defaults(command=_cache_prune)
    add_command(actions, "dir", "print the folder of the venvs", "").set_defaults(command=_cache_dir)


def _jobs(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return count


def _sync(arguments: argparse.Namespace) -> int:
    from gym_service.cli import sync

    return sync.sync(arguments)


def _lock(arguments: argparse.Namespace) -> int:
    from gym_service.cli import lock

    return lock.run(arguments)


def _export(arguments: argparse.Namespace) -> int:
    from gym_service.cli import export

    return export.run(arguments)


def _cache_list(arguments: argparse.Namespace) -> int:
    from gym_service.cli import cache

    return cache.show(arguments)


def _cache_prune(arguments: argparse.Namespace) -> int:
    from gym_service.cli import cache

    return cache.prune(arguments)


def _cache_dir(arguments: argparse.Namespace) -> int:
    from gym_service_launcher.interpreters.venvs import cache_folder

    print(cache_folder())
    return 0
