"""A venv at the other end of a command: asks for it, passes on what is said about the build, and waits for the answer.

Knows entries, venvs and the lines of ``standalone/remote_venv_builder.py``. Never knows how a venv is built, nor what
the server sends later. Python 3.10 and up.

The venv and the server share one run of the command: what is built inside ``docker run --rm`` is gone with the
container, and a job may wait in a queue for hours.
"""

import json
import math
import select
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters import venvs
from gym_service_launcher.interpreters.venv_spec import VenvSpec, spec_of
from gym_service_launcher.interpreters.venvs import Venv, Wanted
from gym_service_launcher.servers import over_command
from gym_service_launcher.servers.over_command import CommandServer
from gym_service_launcher.servers.stream import wait
from gym_service_launcher.standalone.build_commands import GivenUp
from gym_service_launcher.standalone.remote_venv_builder import WORD


def start(entry: Entry, progress: Callable[[str], None]) -> CommandServer:
    """Run the command of an entry that asks for a venv. Returns once the venv is there and the server on its way.

    Raises as ``over_command.start``.
    """
    spec = _spec(entry)
    wanted = Wanted(venvs.locked_venv(entry, spec, progress), may_build=entry.auto_sync)
    server, venv = _run(entry, spec, wanted, progress, serve=True)
    if venv.state == "missing":
        server.close(0.0)
        raise venvs.not_synced(entry, spec)
    server.venv_is_ready(str(venv.python))
    return server


def provide(entry: Entry, wanted: Wanted, progress: Callable[[str], None]) -> Venv:
    """The venv of a remote entry, without a server. Blocks while it is built; raises as ``start``."""
    server, venv = _run(entry, _spec(entry), wanted, progress, serve=False)
    server.close(entry.timeouts.close)
    return venv


def _spec(entry: Entry) -> VenvSpec:
    spec = spec_of(entry)
    assert spec, "the entry builds a venv"
    return spec


def _run(
    entry: Entry, spec: VenvSpec, wanted: Wanted, progress: Callable[[str], None], *, serve: bool
) -> tuple[CommandServer, Venv]:
    """Run the command up to the answer about the venv. Where that fails, nothing is left of the command."""
    order = venvs.order_of(spec, wanted, may_build=wanted.may_build)
    server = over_command.start(entry, order, serve=serve)
    try:
        return server, _answer(server, spec, progress, wanted.watched)
    except BaseException:
        server.close(entry.timeouts.close)
        raise


def _answer(
    server: CommandServer,
    spec: VenvSpec,
    progress: Callable[[str], None],
    watched: tuple[int, ...],
) -> Venv:
    """Send the order, and read up to the answer: the server may begin right behind it."""
    for line in _lines(server, watched):
        said = _said(line, server.opening.mark)
        if said is None:
            server.opening.keep(line + b"\n")
        elif "say" in said:
            progress(str(said["say"]))
        elif "venv" in said:
            return venvs.venv_of(said["venv"])
        else:
            failed = said["failed"]
            where = f" on the remote side ({server.place})"
            argv = tuple(failed["argv"])
            raise venvs.build_error(spec, failed["text"], argv, failed["exit_code"], failed["tail"], where)
    raise server.start_error()


def _said(line: bytes, mark: bytes) -> Mapping[str, Any] | None:
    """What a line of the builder says; None for a line of anybody else."""
    begin = f"{WORD} {mark.hex()} ".encode()
    if not line.startswith(begin):
        return None
    try:
        said = json.loads(line[len(begin) :])
    except ValueError:
        return None
    return said if isinstance(said, dict) and {"say", "venv", "failed"} & said.keys() else None


def _lines(server: CommandServer, watched: tuple[int, ...]) -> Iterator[bytes]:
    """Each line that comes, without its end, while the bundle is sent; until the command ends.

    One byte at a time: what follows the last line belongs to the server. Raises GivenUp where the other end of a
    watched descriptor is closed.
    """
    end, line = server.end, bytearray()
    while True:
        ready = wait(
            [
                (end.read_fd, select.POLLIN),
                *([(end.write_fd, select.POLLOUT)] if server.unsent else []),
                *((fd, 0) for fd in watched),  # poll tells of its end without being asked
            ],
            math.inf,
        )
        if ready & set(watched):
            raise GivenUp("the process that waited for the venv has gone")
        if end.write_fd in ready:
            server.unsent = server.unsent[end.write_some(server.unsent) :]
        if end.read_fd not in ready:
            continue
        byte = end.read(1, math.inf)
        if not byte:
            return
        if byte == b"\n":
            yield bytes(line.rstrip(b"\r"))
            line.clear()
        else:
            line += byte
