"""``gym-service shell`` and ``gym-service debug``: the interpreter or the simulator of an entry, in this terminal.

Knows entries and the terminal. Never knows what a user types there. Python 3.10 and up.

Both become the program that they start: there is no process between it and the terminal, so Ctrl-C, job control and
readline work. No guardian watches it either. It is the user's own program in the foreground.
"""

import argparse
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import NoReturn

from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError, ServerStartError

from gym_service.cli.help_format import Commands, add_command

ENVS_HELP = "an envs.toml (default: the one that gym.make uses)"


def add(commands: Commands) -> None:
    """Add both commands to those of ``gym-service``."""
    about = "open a Python prompt in the interpreter of an entry"
    more = (
        "It has the variables, the activation scripts and the working directory of the simulator's server. What "
        "follows ENV goes to Python: gym-service shell PushT-v0 -c 'import gym_pusht'."
    )
    parser = _add(commands, "shell", about, more)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="arguments of Python")
    parser.set_defaults(command=shell)
    about = "run the simulator of an entry in this terminal, for pdb and breakpoint()"
    more = (
        "Prints how a client reaches it, waits for that client, and serves it. The client has no time limits. The "
        "simulator ends with its client."
    )
    parser = _add(commands, "debug", about, more)
    parser.set_defaults(command=debug)


def _add(commands: Commands, name: str, about: str, more: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, about, more)
    parser.add_argument("--envs", type=Path, metavar="FILE", help=ENVS_HELP)
    parser.add_argument("name", metavar="ENV", help="an entry of envs.toml")
    return parser


def shell(arguments: argparse.Namespace) -> NoReturn:
    """Become a Python prompt. Raises ConfigError, and ServerStartError where the interpreter cannot be executed."""
    entry = _entry(arguments, "shell")
    _become(entry, arguments.words)


def debug(arguments: argparse.Namespace) -> NoReturn:
    """Wait for a client, then become the server that it talks to.

    Raises:
        ConfigError: there is no such entry, or its simulator is not on this machine.
        ServerStartError: another gym-service debug of this entry waits already, or the interpreter cannot be executed.
        AuthError: what has connected is no client of this user.
    """
    from gym_service_launcher import user_dirs
    from gym_service_launcher.listener.pending import unix_endpoint
    from gym_service_launcher.net import handshake, same_host, unix
    from gym_service_launcher.net.handshake import UNIX_PEER_KEY, Handshake
    from gym_service_launcher.servers.program import server_program

    entry = _entry(arguments, "debug")
    name = re.sub(r"[^\w.-]", "_", entry.name)
    endpoint = unix_endpoint(user_dirs.runtime_dir() / f"debug-{name[:40]}.sock")
    try:
        print(endpoint.address, flush=True)
        _say(_how_to_use(entry, endpoint.address))
        client, _ = endpoint.sock.accept()
        unix.refuse_other_users(client)
        handshake.perform(client, Handshake("server", UNIX_PEER_KEY))
    finally:
        endpoint.close()
    client.set_inheritable(True)
    options = ["--fd", str(client.fileno()), "--negotiate-arena", same_host.PREAMBLE_FORM, "--debugged"]
    _become(entry, ["-u", str(server_program()), *options])


def _how_to_use(entry: Entry, address: str) -> str:
    service = json.dumps({"address": address, "timeouts": {"start": None}}).replace("null", "None")
    lines = [f'waiting for: gym.make("gym_service/{entry.name}", service={service})']
    lines += ["breakpoint() in the simulator stops in this terminal; Ctrl-C ends the waiting"]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _entry(arguments: argparse.Namespace, command: str) -> Entry:
    """The entry, as a single env of it has it. Raises ConfigError where its simulator is not on this machine."""
    file = envs_file.load(arguments.envs or envs_file.find_or_fail())
    name = arguments.name.removeprefix("gym_service/")
    entry = file.entries.get(name)
    if entry is None:
        raise envs_file.unknown_entry(file, name)
    if isinstance(entry, ConfigError):
        raise entry
    if entry.address or entry.is_remote:
        where = f"at {entry.address}" if entry.address else "at the other end of a command"
        text = f"{file.path}: the simulator of {name!r} is {where}, and this terminal is not there"
        raise ConfigError(f"{text}\n  try: gym-service {command} on that machine", file=str(file.path), key="")
    from gym_service.factory import per_env

    return per_env.entry_at(entry, per_env.Place())


def _become(entry: Entry, words: list[str]) -> NoReturn:
    """Replace this process by the entry's interpreter, in the environment of its server."""
    from gym_service_launcher.interpreters.environment import environment_of
    from gym_service_launcher.servers import local, program

    program.refuse_windows()
    executable = local.executable_of(entry, _say)
    environment = environment_of(entry, executable)
    argv = [*environment.words, str(executable), *words]
    try:
        if entry.cwd:
            os.chdir(entry.cwd)
        os.execve(argv[0], argv, environment.variables)
    except OSError as error:
        text = f"{error.filename or argv[0]}: {error.strerror}\n  command: {shlex.join([str(executable), *words])}"
        raise ServerStartError(text, argv=tuple(argv), interpreter=str(executable), exit_code=None, tail="") from error
