"""The command ``gym-service``: its arguments, its exit codes, and which module carries out which command.

Knows arguments, exit codes and streams. Never knows how a command does its work: each imports what it needs when it
runs, so that --help is quick. Python 3.10 and up.

Exit codes: 0; 1 if ``list`` or ``check`` found something wrong or ``replay`` a difference; 2 for an error of ours or a
wrong command line; 130 for Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from gym_service_launcher.errors import GymServiceError

from gym_service.cli import file_commands, foreground, record, replay, run, venv_commands, view
from gym_service.cli.help_format import Commands, HelpFormatter, add_command

ABOUT = "Drive a simulator in another, older Python through an ordinary gymnasium.Env."
EXAMPLES = """\
examples:
  gym-service list                                       the entries
  gym-service check PushT-v0                             try one out
  gym-service add --venv ./sim_env                       add an entry
  gym-service sync                                       build the venvs
  gym-service run --venv ./sim_env                       serve local clients
  gym-service run --venv ./sim_env --tcp 127.0.0.1:2333  serve over TCP
  gym-service run --venv ./sim_env --stdio               serve over pipes
  gym-service token                                      the token for TCP
  gym-service ps                                         your servers
  gym-service logs PushT-v0 -f                           the output of one
  gym-service stop PushT-v0                              stop it
  gym-service shell PushT-v0                             a Python prompt in it
  gym-service debug PushT-v0                             pdb in the simulator
  gym-service view                                       a page that shows them
  gym-service record PushT-v0 -o pusht.mp4               a video of an entry
  gym-service replay run.trace                           play a trace again
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: the arguments; None for those of this process.

    Raises:
        SystemExit: --help, with code 0; a wrong command line, with code 2.
    """
    parser, commands = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(f"gym-service {_version()}")
        return 0
    if "command" not in arguments:
        parser.error(f"a command is missing: {', '.join(commands.choices)}")
    before, warnings.formatwarning = warnings.formatwarning, _without_location
    try:
        return int(arguments.command(arguments))
    except GymServiceError as error:
        print(f"gym-service: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        warnings.formatwarning = before


def _without_location(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A simulator's warning. Its location is that of a call in this program, which tells a user nothing."""
    return f"{category.__name__}: {message}\n"


def _version() -> str:
    from importlib.metadata import version

    return version("gym-service")


def _parser() -> tuple[argparse.ArgumentParser, Commands]:
    parser = argparse.ArgumentParser(
        prog="gym-service", description=ABOUT, epilog=EXAMPLES, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_list(commands)
    _add_check(commands)
    file_commands.add(commands)
    venv_commands.add(commands)
    run.add(commands)
    _add_token(commands)
    _add_ps(commands)
    _add_logs(commands)
    _add_stop(commands)
    foreground.add(commands)
    view.add(commands)
    record.add(commands)
    replay.add(commands)
    _add_completion(commands)
    return parser, commands


def _add_list(commands: Commands) -> None:
    more = "Runs each interpreter but makes no env: whether an env works is the question of gym-service check."
    parser = add_command(commands, "list", "list the entries of envs.toml and find their interpreters", more)
    parser.add_argument("--envs", type=Path, metavar="FILE", help="an envs.toml (default: the one that gym.make uses)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_list)


def _add_check(commands: Commands) -> None:
    more = (
        "Makes each env, plays 100 steps, renders, and compares the play with one in the simulator's own process. "
        "Takes some four starts of the simulator. A cross comes with its cause and what to try."
    )
    parser = add_command(commands, "check", "try out entries of envs.toml, and say what is wrong", more)
    parser.add_argument("names", nargs="*", metavar="ENV", help="entries (default: all of them)")
    parser.add_argument("--envs", type=Path, metavar="FILE", help="an envs.toml (default: the one that gym.make uses)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(command=_check)


def _add_token(commands: Commands) -> None:
    more = "Prints the path of the file. A file that exists is not changed."
    parser = add_command(commands, "token", "create the token that authenticates TCP clients", more)
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the file (default: ~/.config/gym-service/token)"
    )
    parser.set_defaults(command=_token)


def _add_ps(commands: Commands) -> None:
    parser = add_command(commands, "ps", "list your running servers", "The oldest comes first.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_ps)


def _add_logs(commands: Commands) -> None:
    more = "The logs are in ~/.local/state/gym-service/logs, at most 4 MiB for each server."
    parser = add_command(commands, "logs", "print the output of a server", more)
    parser.add_argument("which", metavar="ENV|PID", help="an env id, for its newest server, or a pid")
    parser.add_argument("-f", "--follow", action="store_true", help="continue until the server ends")
    parser.set_defaults(command=_logs)


def _add_stop(commands: Commands) -> None:
    parser = add_command(commands, "stop", "stop a server", "The next call of its client raises ServerCrashed.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("which", nargs="?", metavar="ENV|PID", help="an env id, for all of its servers, or a pid")
    which.add_argument("--warm", action="store_true", help="the fork servers that keep_warm_s keeps; no client notices")
    parser.set_defaults(command=_stop)


def _add_completion(commands: Commands) -> None:
    more = (
        'Needs shtab: pip install "gym-service[completion]". The help of the docs says where each shell looks for it.'
    )
    parser = add_command(commands, "completion", "print what a shell needs to complete this command", more)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    parser.set_defaults(command=_completion)


def _list(arguments: argparse.Namespace) -> int:
    from gym_service_launcher.config import envs_file

    from gym_service.cli import list_envs

    file = envs_file.load(arguments.envs or envs_file.find_or_fail())
    return list_envs.show(file, as_json=arguments.json)


def _check(arguments: argparse.Namespace) -> int:
    from gym_service.cli import check

    return check.run(arguments)


def _token(arguments: argparse.Namespace) -> int:
    from gym_service_launcher.net import tokens

    file = arguments.file.expanduser().absolute() if arguments.file else tokens.usual_file()
    existed = os.path.lexists(file)
    tokens.read_or_make(file)
    print(file, flush=True)
    print("the file already existed" if existed else "created with mode 0600; copies need it too", file=sys.stderr)
    return 0


def _ps(arguments: argparse.Namespace) -> int:
    from gym_service.cli import ps

    return ps.show(as_json=arguments.json)


def _completion(arguments: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as error:
        text = 'completion needs shtab\n  try: pip install "gym-service[completion]"'
        raise GymServiceError(text) from error
    print(shtab.complete(_parser()[0], arguments.shell))
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    from gym_service.cli import ps

    return ps.show_log(arguments.which, follow=arguments.follow)


def _stop(arguments: argparse.Namespace) -> int:
    from gym_service.cli import ps

    return ps.stop_warm() if arguments.warm else ps.stop(arguments.which)
