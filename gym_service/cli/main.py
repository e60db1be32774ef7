"""The command ``gym-service``: what it takes, and what it prints.

Knows arguments, exit codes and streams. Never knows how any of it is done; what a command needs is imported when it
runs, so that --help is there at once. Python 3.10 and up.

Exit codes: 0; 1 where ``list`` found something broken; 2 for an error of ours or a wrong command line; 130 for Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gym_service_launcher.errors import ConfigError, GymServiceError

from gym_service.cli import run

EXAMPLES = """\
examples:
  gym-service list                                        what envs.toml has, and which interpreters work
  gym-service run --venv ./sim_env                        serve the clients of yours on this machine
  gym-service run --venv ./sim_env --tcp 127.0.0.1:2333   over TCP
  gym-service run --venv ./sim_env --stdio                serve whoever has started this, over its pipes
  gym-service token                                       make what proves clients over TCP
  gym-service ps                                          the servers of yours that run
  gym-service logs PushT-v0 -f                            what one of them prints
  gym-service stop PushT-v0                               end it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: that of this process) and return its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(f"gym-service {_version()}")
        return 0
    if "command" not in arguments:
        parser.error("which command? list, run, token, ps, logs or stop")
    try:
        return int(arguments.command(arguments))
    except GymServiceError as error:
        print(f"gym-service: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _version() -> str:
    from importlib.metadata import version

    return version("gym-service")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gym-service",
        description="A simulator in its own interpreter, an ordinary gymnasium.Env in yours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="")
    _add_list(commands)
    run.add(commands)
    _add_token(commands)
    _add_ps(commands)
    _add_logs(commands)
    _add_stop(commands)
    return parser


def _add_list(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "print the entries of envs.toml, and whether their interpreters are usable"
    what = "Each interpreter is run. No env is made: whether an id is known there, the first gym.make says."
    parser = commands.add_parser("list", help=about, description=f"{about.capitalize()}. {what}")
    parser.add_argument("--envs", type=Path, metavar="FILE", help="an envs.toml (default: the one that holds here)")
    parser.set_defaults(command=_list)


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "make a token, by which a server and its clients know each other over TCP"
    what = "Prints the name of the file. One that is there already is left as it is."
    parser = commands.add_parser("token", help=about, description=f"{about.capitalize()}. {what}")
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="where to (default: ~/.config/gym-service/token)"
    )
    parser.set_defaults(command=_token)


def _add_ps(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "print the servers of yours that run"
    parser = commands.add_parser("ps", help=about, description=f"{about.capitalize()}, the oldest first.")
    parser.set_defaults(command=_ps)


def _add_logs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "print what a server has printed"
    where = "The logs lie in ~/.local/state/gym-service/logs, at most 4 MiB for each server."
    parser = commands.add_parser("logs", help=about, description=f"{about.capitalize()}. {where}")
    parser.add_argument("which", metavar="ENV", help="an env id, for its newest server, or a pid")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the server has ended")
    parser.set_defaults(command=_logs)


def _add_stop(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "end a server"
    what = "The next call of its client raises ServerCrashed."
    parser = commands.add_parser("stop", help=about, description=f"{about.capitalize()}. {what}")
    parser.add_argument("which", metavar="ENV|PID", help="an env id, for all of its servers, or a pid")
    parser.set_defaults(command=_stop)


def _list(arguments: argparse.Namespace) -> int:
    from gym_service_launcher.config import envs_file

    from gym_service.cli import list_envs

    file = arguments.envs or envs_file.find()
    if file is None:
        raise ConfigError(
            "there is no envs.toml here, in a parent folder or in ~/.config/gym-service", file=None, key=""
        )
    return list_envs.show(envs_file.load(file))


def _token(arguments: argparse.Namespace) -> int:
    from gym_service_launcher.net import tokens

    file = arguments.file.expanduser().absolute() if arguments.file else tokens.usual_file()
    was_there = os.path.lexists(file)
    tokens.read_or_make(file)
    print(file, flush=True)
    print(
        "it was there already" if was_there else "made, mode 0600, as it must be where it is copied to", file=sys.stderr
    )
    return 0


def _ps(arguments: argparse.Namespace) -> int:
    from gym_service.cli import ps

    return ps.show()


def _logs(arguments: argparse.Namespace) -> int:
    from gym_service.cli import ps

    return ps.show_log(arguments.which, follow=arguments.follow)


def _stop(arguments: argparse.Namespace) -> int:
    from gym_service.cli import ps

    return ps.stop(arguments.which)
