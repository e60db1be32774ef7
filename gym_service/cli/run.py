"""``gym-service run``: serves the envs of an interpreter until a signal stops it.

Knows the arguments of the command and what it prints. Never knows how a client is authenticated or served. Python 3.10
and up.
"""

import argparse
import contextlib
import math
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.standalone.env_vars import TOKEN

from gym_service.cli.help_format import HelpFormatter

if TYPE_CHECKING:
    from gym_service_launcher.interpreters.environment import TargetEnvironment
    from gym_service_launcher.listener.pending import Endpoint
    from gym_service_launcher.listener.warm_starts import WarmStarts
    from gym_service_launcher.net.tls import Certificate

ABOUT = "serve the envs of an interpreter to clients on this machine or on others"
# Sixteen bytes that no banner contains by chance. A marker says where the protocol starts. It is no secret.
DEFAULT_MARK = "8b1c6fd05e93f7a24d0ab7e91c35f862"
SHORTEST_MARK_BYTES = 8
EXAMPLE_ID = "CartPole-v1"
EPILOG = f"""\
The first line on standard output is the address. It is printed as soon as
clients can connect. The log goes to standard error. Each client has its own
server process. Ctrl-C stops all servers. SIGTERM stops accepting clients and
waits until the last one disconnects; a second SIGTERM stops all servers.

On a Unix socket the kernel identifies the clients: they need only the address.
Over TCP a client authenticates with a token. It is the token of this user, in
~/.config/gym-service/token, which the first server creates; or that of
--token-file, --token-fd or $GYM_SERVICE_TOKEN. An address that other machines
can reach needs TLS, with a certificate such as that of
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
    -days 3650 -subj /CN=gym-service -keyout key.pem -out cert.pem

With ENV_IDs, clients can make these envs only. Without, they can make any env
that is registered in the interpreter or by a package named gym_... that is
installed there. "module:Env-v0" imports a module first.

With --stdio the only client is the process that started this command and holds
its pipes. The protocol starts after a marker, so that output of a shell or a
container before it does no harm. The client chooses the marker and passes it as
--mark. The default is {DEFAULT_MARK}.

examples:
  gym-service run --venv ./sim_env
  gym-service run --venv ./sim_env gym_pusht:gym_pusht/PushT-v0 --max-clients 8
  gym-service run --python conda:sim --tcp localhost:0
  gym-service run --venv ./sim_env --tcp 0.0.0.0:2333 \\
    --tls-cert cert.pem --tls-key key.pem
  gym-service run --venv ./sim_env --stdio --mark $(openssl rand -hex 16)
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of ``gym-service``."""
    description = f"{ABOUT[0].upper()}{ABOUT[1:]}."
    parser = commands.add_parser(
        "run", help=ABOUT, description=description, epilog=EPILOG, formatter_class=HelpFormatter
    )
    interpreter = parser.add_mutually_exclusive_group(required=True)
    interpreter.add_argument("--venv", metavar="DIR", help="the venv of the simulators")
    interpreter.add_argument("--python", metavar="X", help='a version ("3.10"), an executable, or "conda:NAME"')
    endpoint = parser.add_mutually_exclusive_group()
    endpoint.add_argument(
        "--unix", metavar="PATH", help="listen on this Unix socket (default: one in the runtime directory)"
    )
    endpoint.add_argument(
        "--tcp", type=_host_and_port, metavar="HOST:PORT", help="listen on TCP; port 0 chooses a free port"
    )
    endpoint.add_argument("--stdio", action="store_true", help="serve one client on standard input and output")
    parser.add_argument("--mark", type=_mark, metavar="HEX", help="start-of-protocol marker for --stdio")
    _add_permissions(parser)
    _add_limits(parser)
    _add_security(parser)
    parser.set_defaults(command=run)


def _add_permissions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("permissions")
    group.add_argument("ids", nargs="*", metavar="ENV_ID", help="allow these envs only (default: all registered ones)")
    group.add_argument(
        "--allow-import",
        action="store_true",
        help="also allow names by which clients import or reach further",
    )
    group.add_argument(
        "--pythonpath", action="append", default=[], metavar="DIR", help="a folder to import from; may be repeated"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-clients", type=_count, default=math.inf, metavar="N", help="at the same time; others are told to retry"
    )
    group.add_argument(
        "--idle-timeout", type=_seconds, default=math.inf, metavar="SECONDS", help="disconnect clients idle for so long"
    )
    group.add_argument(
        "--keep-warm",
        type=_seconds,
        metavar="SECONDS",
        help="fork servers from a process that has imported ENV_ID, and keep it for so long after its last use",
    )


def _add_security(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("security")
    token = group.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the token of TCP clients; gym-service token creates one"
    )
    token.add_argument(
        "--token-fd", type=_descriptor, metavar="N", help="an open file descriptor to read the token from"
    )
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate of the server, PEM")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (default: in the same file)")
    group.add_argument("--insecure", action="store_true", help="accept clients of other machines without TLS")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command; return the exit code. Blocks until a signal, or until the --stdio client disconnects.

    Raises:
        ConfigError, InterpreterNotFound: the options cannot be used.
        ServerStartError: the interpreter cannot run a server, or the address is in use.
        AuthError: the token cannot be used.
    """
    from gym_service_launcher.interpreters.environment import environment_at
    from gym_service_launcher.interpreters.find import find_interpreter
    from gym_service_launcher.servers import program

    program.refuse_windows()
    _refuse_conflicts(arguments)
    named = arguments.python
    if arguments.venv:
        named = arguments.venv if arguments.venv.startswith(("/", ".", "~")) else f"./{arguments.venv}"
    option = "--venv" if arguments.venv else "--python"
    executable = find_interpreter(named, Path.cwd(), lambda path: f"{option} {shlex.quote(path)}")
    if arguments.venv:
        named = os.path.abspath(os.path.expanduser(named))
    environment = environment_at(named, executable, [Path(folder).absolute() for folder in arguments.pythonpath])
    if arguments.stdio:
        return _become_server(executable, environment, arguments)
    return _listen(named, executable, environment, arguments)


def _listen(named: str, executable: Path, environment: "TargetEnvironment", arguments: argparse.Namespace) -> int:
    from gym_service_launcher.listener import listener, pending, session
    from gym_service_launcher.net import tokens, unix

    from gym_service.cli import live_view

    given = environment.variables, tuple(arguments.ids), arguments.allow_import, environment.words
    limits = listener.Limits(arguments.max_clients, arguments.idle_timeout)
    certificate = _certificate(arguments)

    def endpoints() -> "Sequence[Endpoint]":
        if not arguments.tcp:
            return [pending.unix_endpoint(_absolute(arguments.unix) if arguments.unix else unix.usual_path(executable))]
        token = tokens.of_server(arguments.token_file, arguments.token_fd)
        os.environ.pop(TOKEN, None)  # no server needs it
        host, port = arguments.tcp
        return pending.tcp_endpoints(host, port, token, certificate, insecure=arguments.insecure)

    def ready(address: str) -> None:
        view.announce(address, _how_to_use(address, arguments, certificate))

    with live_view.view() as view, _warm(named, executable, arguments, view.say) as warm:
        servers = session.ServerOptions(executable, *given, warm=warm)
        listener.serve(endpoints, servers, view.say, ready, limits, view)
    return 0


@contextlib.contextmanager
def _warm(
    named: str, executable: Path, arguments: argparse.Namespace, say: "Callable[[str], None]"
) -> "Iterator[WarmStarts | None]":
    """What forks the servers, once it has imported the env; None without --keep-warm. Raises ConfigError, OSError."""
    if arguments.keep_warm is None:
        yield None
        return
    from gym_service_launcher.config.entry import entry
    from gym_service_launcher.listener.warm_starts import WarmStarts
    from gym_service_launcher.servers.fork_plan import plan_of

    module, _, env_id = arguments.ids[0].rpartition(":")
    keys = {"python": named, "imports": [module] if module else [], "keep_warm_s": arguments.keep_warm}
    made = entry(env_id, {**keys, "pythonpath": [os.path.abspath(folder) for folder in arguments.pythonpath]})
    warm = WarmStarts(plan_of(made, executable), env_id, made.timeouts.start)
    try:
        if problem := warm.wait():
            say(f"{env_id} is not kept warm: {problem}")
        yield warm
    finally:
        warm.close()


def _how_to_use(address: str, arguments: argparse.Namespace, certificate: "Certificate | None") -> list[str]:
    """Lines to copy into a program or into envs.toml."""
    env_id = arguments.ids[0].rpartition(":")[2] if arguments.ids else EXAMPLE_ID
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


def _refuse_conflicts(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for an option without effect: it is a mistake, and in security a dangerous one."""
    for option, needs in (
        ("mark", "stdio"),
        ("token_file", "tcp"),
        ("token_fd", "tcp"),
        ("tls_cert", "tcp"),
        ("tls_key", "tls_cert"),
        ("insecure", "tcp"),
    ):
        if getattr(arguments, option) not in (None, False) and not getattr(arguments, needs):
            raise ConfigError(f"{_flag(option)} needs {_flag(needs)}", file=None, key=option)
    if arguments.insecure and arguments.tls_cert:
        raise ConfigError("--insecure means no TLS, and --tls-cert means TLS: choose one", file=None, key="insecure")
    if arguments.keep_warm is not None and (arguments.stdio or len(arguments.ids) != 1):
        text = "--keep-warm needs one ENV_ID, which it imports, and cannot be combined with --stdio"
        raise ConfigError(text, file=None, key="keep_warm")
    for option, usual in (("allow_import", False), ("max_clients", math.inf), ("idle_timeout", math.inf)):
        if arguments.stdio and getattr(arguments, option) != usual:
            text = f"{_flag(option)} has no effect with --stdio, which has one client only"
            raise ConfigError(text, file=None, key=option)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _become_server(executable: Path, environment: "TargetEnvironment", arguments: argparse.Namespace) -> int:
    """Replace this process by the server, so that no process is between it and the pipes."""
    from gym_service_launcher.servers import program

    allowed = [word for env_id in arguments.ids for word in ("--allow", env_id)]
    argv = program.server_argv(executable, "--stdio", arguments.mark or DEFAULT_MARK, *allowed)
    try:
        command = [*environment.words, *argv]
        os.execve(command[0], command, environment.variables)
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
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:2333 or [::1]:0") from None


def _mark(text: str) -> str:
    try:
        if len(bytes.fromhex(text)) >= SHORTEST_MARK_BYTES:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a marker: expected {2 * SHORTEST_MARK_BYTES} or more hex digits")


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of clients: expected 1 or more")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _descriptor(text: str) -> int:
    if text.isdecimal():
        try:
            os.fstat(int(text))
        except (OSError, OverflowError):
            pass
        else:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not an open file descriptor; a shell opens one with 3< FILE")
