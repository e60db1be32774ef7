"""The command ``gym-service``: what it takes, and what it prints.

Knows arguments, exit codes and streams. Never knows how any of it is done; what a command needs is imported when it
runs, so that --help is there at once. Python 3.10 and up.

Exit codes: 0; 1 where ``list`` found something broken; 2 for an error of ours or a wrong command line; 130 for Ctrl-C.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gym_service_launcher.errors import ConfigError, GymServiceError, ServerStartError

EXAMPLES = """\
examples:
  gym-service list                                        what envs.toml has, and which interpreters work
  gym-service run --venv ./sim_env --tcp 127.0.0.1:2333   let the clients of this machine in
  gym-service run --python 3.10 --tcp localhost:0         at a port that is free
  gym-service run --venv ./sim_env --stdio                serve whoever has started this, over its pipes
  gym-service ps                                          the servers of yours that run
  gym-service logs PushT-v0 -f                            what one of them prints
  gym-service stop PushT-v0                               end it
"""
RUN_EXAMPLES = """\
With --tcp the first line on standard output is the address, as soon as clients can connect; the log is on standard
error. Each client has a server process of its own. It proves that it knows the token of this user, which lies in
~/.config/gym-service/token, mode 0600; the first server makes it. Any env can be made that is registered in the
interpreter, or by a package called gym_… that is installed there.

With --stdio there is one client, which has started this command and holds its pipes. The protocol begins after a
mark, so that what a shell or a container says before does no harm. The client makes the mark and says it with --mark,
since it must know what to look for before a byte has come; without --mark it is always
{mark}.

examples:
  gym-service run --venv ./sim_env --tcp 127.0.0.1:2333
  gym-service run --python conda:sim --tcp localhost:0
  gym-service run --venv ./sim_env --stdio --mark $(openssl rand -hex 16)
"""
# Sixteen bytes that no banner holds by chance. A mark is no secret: it says where, not who.
USUAL_MARK = "8b1c6fd05e93f7a24d0ab7e91c35f862"
LEAST_MARK_BYTES = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: that of this process) and return its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(f"gym-service {_version()}")
        return 0
    if "command" not in arguments:
        parser.error("which command? list, run, ps, logs or stop")
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
    _add_run(commands)
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


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "serve the simulators of an interpreter"
    parser = commands.add_parser(
        "run",
        help=about,
        description=f"{about.capitalize()}.",
        epilog=RUN_EXAMPLES.format(mark=USUAL_MARK),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--venv", metavar="DIR", help="the venv that holds the simulators")
    which.add_argument("--python", metavar="X", help='a version ("3.10"), an executable, "conda:NAME"')
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--stdio", action="store_true", help="serve one client over standard input and output")
    where.add_argument("--tcp", type=_host_and_port, metavar="HOST:PORT", help="listen; port 0 means one that is free")
    parser.add_argument("--mark", type=_mark, metavar="HEX", help="what --stdio begins with")
    parser.set_defaults(command=_run)


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


def _host_and_port(text: str) -> tuple[str, int]:
    from gym_service_launcher import tcp

    try:
        return tcp.host_and_port(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:2333 or [::1]:0") from None


def _mark(text: str) -> str:
    try:
        if len(bytes.fromhex(text)) >= LEAST_MARK_BYTES:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no mark: {2 * LEAST_MARK_BYTES} hex digits or more")


def _list(arguments: argparse.Namespace) -> int:
    from gym_service_launcher import config, listing

    file = arguments.envs or config.find()
    if file is None:
        raise ConfigError(
            "there is no envs.toml here, in a parent folder or in ~/.config/gym-service", file=None, key=""
        )
    return listing.show(config.load(file))


def _run(arguments: argparse.Namespace) -> int:
    from gym_service_launcher import interpreter, supervisor

    supervisor.refuse_windows()
    if arguments.mark and not arguments.stdio:
        raise ConfigError("--mark is what --stdio begins with; --tcp has none", file=None, key="mark")
    named = os.path.abspath(os.path.expanduser(arguments.venv)) if arguments.venv else arguments.python
    executable = interpreter.find(named, Path.cwd())
    if arguments.stdio:
        return _become_server(executable, arguments.mark or USUAL_MARK)
    from gym_service_launcher import listen

    host, port = arguments.tcp
    listen.serve(executable, host, port, say=_log, ready=_announce)
    return 0


def _ps(arguments: argparse.Namespace) -> int:
    from gym_service_launcher import servers

    return servers.show()


def _logs(arguments: argparse.Namespace) -> int:
    from gym_service_launcher import servers

    return servers.show_log(arguments.which, follow=arguments.follow)


def _stop(arguments: argparse.Namespace) -> int:
    from gym_service_launcher import servers

    return servers.stop(arguments.which)


def _become_server(executable: Path, mark: str) -> int:
    """The server takes this process's place: no one stands between it and the pipes."""
    from gym_service_launcher import interpreter, supervisor

    argv = supervisor.server_argv(executable, "--stdio", mark)
    try:
        os.execve(executable, argv, interpreter.environment(executable, {}, ()))
    except OSError as error:
        text = f"{executable} cannot be executed: {error.strerror}"
        raise ServerStartError(text, argv=tuple(argv), interpreter=str(executable), exit_code=None, tail="") from error


def _announce(address: str) -> None:
    make = f'env = gym_service.make("CartPole-v1", address="{address}")'
    entry = f'or in envs.toml: [envs."CartPole-v1"]  address = "{address}"  and gym.make("gym_service/CartPole-v1")'
    if not sys.stdout.isatty():
        print(address, f"  {make}", f"  {entry}", sep="\n", flush=True)
        return
    from rich.console import Console

    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(address, style="bold green")
    console.print(f"  {make}\n  {entry}")
    console.print("Ctrl-C ends it.", style="dim")


def _log(line: str) -> None:
    """On standard error: who reads the address from standard output may never read on."""
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)
