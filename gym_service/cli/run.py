"""``gym-service run``: the simulators of an interpreter for whoever may come, until it is told to end.

Knows what the command takes, and what it prints. Never knows how a client is let in. Python 3.10 and up.
"""

import argparse
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.standalone.env_vars import TOKEN

if TYPE_CHECKING:
    from gym_service_launcher.listener.pending import Endpoint
    from gym_service_launcher.net.tls import Certificate

ABOUT = "serve the simulators of an interpreter to clients on this machine or on others"
# Sixteen bytes that no banner holds by chance. A mark is no secret: it says where, not who.
USUAL_MARK = "8b1c6fd05e93f7a24d0ab7e91c35f862"
LEAST_MARK_BYTES = 8
USUAL_ID = "CartPole-v1"
EXAMPLES = f"""\
The first line on standard output is the address, as soon as clients can connect; the log is on standard error. Each
client has a server process of its own. Ctrl-C ends them all; SIGTERM lets nobody in any more and waits until the last
client has left, a second one ends them too.

Clients on this machine need nothing but the address of the Unix socket: the kernel says who they are. Over TCP, on this
machine too, a client proves that it knows the token: that of this user, which lies in ~/.config/gym-service/token (the
first server makes it), or the one of --token-file, --token-fd or $GYM_SERVICE_TOKEN. At an address that other machines
reach, TLS is asked for:
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=gym-service \\
    -keyout key.pem -out cert.pem

Where ENV_IDs are given, these alone are made; else any that is registered in the interpreter, or by a package called
gym_... that is installed there. "module:Env-v0" is one that a module must be imported for.

With --stdio there is one client, which has started this command and holds its pipes. The protocol begins after a
mark, so that what a shell or a container says before does no harm. The client makes the mark and says it with --mark,
since it must know what to look for before a byte has come; without --mark it is always
{USUAL_MARK}.

examples:
  gym-service run --venv ./sim_env
  gym-service run --venv ./sim_env gym_pusht:gym_pusht/PushT-v0 --max-clients 8
  gym-service run --python conda:sim --tcp localhost:0
  gym-service run --venv ./sim_env --tcp 0.0.0.0:2333 --tls-cert cert.pem --tls-key key.pem
  gym-service run --venv ./sim_env --stdio --mark $(openssl rand -hex 16)
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of ``gym-service``."""
    parser = commands.add_parser(
        "run",
        help=ABOUT,
        description=f"{ABOUT.capitalize()}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--venv", metavar="DIR", help="the venv that holds the simulators")
    which.add_argument("--python", metavar="X", help='a version ("3.10"), an executable, "conda:NAME"')
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--unix", metavar="PATH", help="listen at this Unix socket (default: one in the run-time folder)"
    )
    where.add_argument("--tcp", type=_host_and_port, metavar="HOST:PORT", help="listen; port 0 means one that is free")
    where.add_argument("--stdio", action="store_true", help="serve one client over standard input and output")
    parser.add_argument("--mark", type=_mark, metavar="HEX", help="what --stdio begins with")
    _add_what_may_be_made(parser)
    _add_how_many(parser)
    _add_security(parser)
    parser.set_defaults(command=run)


def _add_what_may_be_made(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what clients may have made")
    group.add_argument("ids", nargs="*", metavar="ENV_ID", help="these alone (default: whatever is registered)")
    group.add_argument("--allow-import", action="store_true", help="also what they name: module:Env, imports, wrappers")
    group.add_argument(
        "--pythonpath", action="append", default=[], metavar="DIR", help="a folder to import from; more than one"
    )


def _add_how_many(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how many, and for how long")
    group.add_argument("--max-clients", type=_count, default=math.inf, metavar="N", help="at once; more of them wait")
    group.add_argument(
        "--idle-timeout",
        type=_seconds,
        default=math.inf,
        metavar="SECONDS",
        help="hang up on a client that has asked for nothing for so long",
    )


def _add_security(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who may come over TCP, and who may listen in")
    token = group.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a token, mode 0600; gym-service token makes one"
    )
    token.add_argument("--token-fd", type=_descriptor, metavar="N", help="an open descriptor that it can be read from")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate to show, PEM")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (default: in the same file)")
    group.add_argument("--insecure", action="store_true", help="let other machines in without TLS")


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says; the exit code."""
    from gym_service_launcher.interpreters.find import find_interpreter
    from gym_service_launcher.servers import program
    from gym_service_launcher.standalone import env_vars

    program.refuse_windows()
    _refuse_what_does_not_go_together(arguments)
    named = os.path.abspath(os.path.expanduser(arguments.venv)) if arguments.venv else arguments.python
    executable = find_interpreter(named, Path.cwd())
    variables = env_vars.environment(executable, {}, [os.path.abspath(folder) for folder in arguments.pythonpath])
    if arguments.stdio:
        return _become_server(executable, variables, arguments)
    return _listen(executable, variables, arguments)


def _listen(executable: Path, variables: dict[str, str], arguments: argparse.Namespace) -> int:
    from gym_service_launcher.listener import listener, pending, session
    from gym_service_launcher.net import tokens, unix

    from gym_service.cli import live_view

    servers = session.ServerOptions(executable, variables, tuple(arguments.ids), arguments.allow_import)
    limits = listener.Limits(arguments.max_clients, arguments.idle_timeout)
    certificate = _certificate(arguments)

    def endpoints() -> "Sequence[Endpoint]":
        if not arguments.tcp:
            return [pending.unix_endpoint(_absolute(arguments.unix) if arguments.unix else unix.usual_path(executable))]
        token = tokens.of_server(arguments.token_file, arguments.token_fd)
        os.environ.pop(TOKEN, None)  # what is started from here on has no need of it
        host, port = arguments.tcp
        return pending.tcp_endpoints(host, port, token, certificate, insecure=arguments.insecure)

    def ready(address: str) -> None:
        view.announce(address, _how_to_use(address, arguments, certificate))

    with live_view.view() as view:
        listener.serve(endpoints, servers, view.say, ready, limits, view)
    return 0


def _how_to_use(address: str, arguments: argparse.Namespace, certificate: "Certificate | None") -> list[str]:
    """The lines to copy: into a program, into envs.toml."""
    env_id = arguments.ids[0].rpartition(":")[2] if arguments.ids else USUAL_ID
    keys = {"address": address}
    if arguments.tcp and arguments.token_file:
        keys["token_file"] = str(_absolute(arguments.token_file))
    if certificate:
        keys["tls_sha256"] = certificate.fingerprint
    name = env_id.rpartition("/")[2]
    lines = [f"env = gym_service.make({_call(env_id, keys)})", f'or in envs.toml, for gym.make("gym_service/{name}"):']
    table = keys if name == env_id else {"id": env_id, **keys}
    return lines + [f'[envs."{name}"]'] + [f'{key} = "{value}"' for key, value in table.items()]


def _call(env_id: str, keys: dict[str, str]) -> str:
    return ", ".join([f'"{env_id}"', *(f'{key}="{value}"' for key, value in keys.items())])


def _certificate(arguments: argparse.Namespace) -> "Certificate | None":
    if not arguments.tls_cert:
        return None
    from gym_service_launcher.net.tls import Certificate  # imports ssl

    return Certificate(arguments.tls_cert, arguments.tls_key)


def _refuse_what_does_not_go_together(arguments: argparse.Namespace) -> None:
    """Raise ConfigError: an option that would do nothing is a mistake, and about security a dangerous one."""
    for option, needs, why in (
        ("mark", "stdio", "--mark is what --stdio begins with, and nothing else has one"),
        ("token_file", "tcp", "--token-file is asked for over --tcp alone"),
        ("token_fd", "tcp", "--token-fd is asked for over --tcp alone"),
        ("tls_cert", "tcp", "--tls-cert is shown over --tcp alone"),
        ("tls_key", "tls_cert", "--tls-key is the key of a --tls-cert"),
        ("insecure", "tcp", "--insecure is about --tcp alone"),
    ):
        if getattr(arguments, option) not in (None, False) and not getattr(arguments, needs):
            raise ConfigError(why, file=None, key=option)
    if arguments.insecure and arguments.tls_cert:
        text = "--insecure says that there is no TLS, and --tls-cert that there is"
        raise ConfigError(text, file=None, key="insecure")
    for option, usual in (("allow_import", False), ("max_clients", math.inf), ("idle_timeout", math.inf)):
        if arguments.stdio and getattr(arguments, option) != usual:
            text = f"--{option.replace('_', '-')} is about clients that come; who has started --stdio is the only one"
            raise ConfigError(text, file=None, key=option)


def _become_server(executable: Path, variables: dict[str, str], arguments: argparse.Namespace) -> int:
    """The server takes this process's place: no one stands between it and the pipes."""
    from gym_service_launcher.servers import program

    allowed = [word for env_id in arguments.ids for word in ("--allow", env_id)]
    argv = program.server_argv(executable, "--stdio", arguments.mark or USUAL_MARK, *allowed)
    try:
        os.execve(executable, argv, variables)
    except OSError as error:
        text = f"{executable} cannot be executed: {error.strerror}\n  command: {shlex.join(argv)}"
        raise ServerStartError(text, argv=tuple(argv), interpreter=str(executable), exit_code=None, tail="") from error


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _host_and_port(text: str) -> tuple[str, int]:
    from gym_service_launcher.net import tcp

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


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of clients: 1 or more")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _descriptor(text: str) -> int:
    if text.isdecimal():
        try:
            os.fstat(int(text))
        except (OSError, OverflowError):
            pass
        else:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no open descriptor; a shell opens one with 3< FILE")
