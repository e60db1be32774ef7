"""A venv at the other end of a command: asks for it, passes on what is said about the build, and waits for the answer.

Knows entries, venvs and the lines of ``standalone/remote_venv_builder.py``. Never knows how a venv is built, nor what
the server sends later. Python 3.10 and up.

The venv and the server share one run of the command: what is built inside ``docker run --rm`` is gone with the
container, and a job may wait in a queue for hours.
"""

import json
import os
import select
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters import venvs
from gym_service_launcher.interpreters.venv_spec import VenvSpec, spec_of
from gym_service_launcher.interpreters.venvs import Venv, Wanted
from gym_service_launcher.servers import over_command
from gym_service_launcher.servers.link import PipeEnds, ServerStream
from gym_service_launcher.servers.over_command import CommandServer
from gym_service_launcher.standalone.build_commands import GivenUp
from gym_service_launcher.standalone.remote_venv_builder import WORD

# How much of what a shell prints before is kept for an error.
MOST_SKIPPED_BYTES = 64 * 1024


def start(entry: Entry, progress: Callable[[str], None]) -> CommandServer:
    """Run the command of an entry that asks for a venv. Returns once the venv is there and the server on its way.

    Raises as ``over_command.start``.
    """
    spec = _spec(entry)
    wanted = Wanted(venvs.locked_venv(entry, spec, progress), may_build=entry.auto_sync)
    server, stream, venv = _run(entry, spec, wanted, progress, serve=True)
    if venv.state == "missing":
        stream.end.close()
        server.close(0.0)
        raise venvs.not_synced(entry, spec)
    server.resume_start(replace(stream, send_first=b""), str(venv.python))
    return server


def provide(entry: Entry, wanted: Wanted, progress: Callable[[str], None]) -> Venv:
    """The venv of a remote entry, without a server. Blocks while it is built; raises as ``start``."""
    server, stream, venv = _run(entry, _spec(entry), wanted, progress, serve=False)
    stream.end.close()
    server.close(entry.timeouts.close)
    return venv


def _spec(entry: Entry) -> VenvSpec:
    spec = spec_of(entry)
    assert spec, "the entry builds a venv"
    return spec


def _run(
    entry: Entry, spec: VenvSpec, wanted: Wanted, progress: Callable[[str], None], *, serve: bool
) -> tuple[CommandServer, ServerStream, Venv]:
    """Run the command up to the answer about the venv. Where that fails, nothing is left of the command."""
    order = venvs.order_of(spec, wanted, may_build=wanted.may_build)
    server = over_command.start(entry, order, serve=serve)
    stream = server.take_stream()
    try:
        return server, stream, _answer(server, stream, spec, progress, wanted.watched)
    except BaseException:
        stream.end.close()
        server.close(entry.timeouts.close)
        raise


def _answer(
    server: CommandServer,
    stream: ServerStream,
    spec: VenvSpec,
    progress: Callable[[str], None],
    watched: tuple[int, ...],
) -> Venv:
    """Send the order, and read up to the answer: the server may begin right behind it."""
    for line in _lines(stream, watched):
        said = _said(line, stream.mark)
        if said is None:
            stream.skipped.extend(line + b"\n")
            del stream.skipped[:-MOST_SKIPPED_BYTES]
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


def _lines(stream: ServerStream, watched: tuple[int, ...]) -> Iterator[bytes]:
    """Each line that comes, without its end, while ``send_first`` is sent; until the command ends.

    One byte at a time: what follows the last line belongs to the server. Raises GivenUp where the other end of a
    watched descriptor is closed.
    """
    assert isinstance(stream.end, PipeEnds)
    read_fd, write_fd = stream.end.read_fd, stream.end.write_fd
    to_send, line = stream.send_first, bytearray()
    while True:
        ready = _ready(read_fd, write_fd if to_send else None, watched)
        if write_fd in ready:
            to_send = _rest_of(to_send, write_fd)
        if read_fd not in ready:
            continue
        byte = os.read(read_fd, 1)
        if not byte:
            return
        if byte == b"\n":
            yield bytes(line.rstrip(b"\r"))
            line.clear()
        else:
            line += byte


def _ready(read_fd: int, write_fd: int | None, watched: tuple[int, ...]) -> set[int]:
    """The descriptors that something can be done with. Blocks until there is one."""
    poll = select.poll()
    poll.register(read_fd, select.POLLIN)
    if write_fd is not None:
        poll.register(write_fd, select.POLLOUT)
    for fd in watched:
        poll.register(fd, 0)  # of its end poll tells unasked
    ready = {fd for fd, _ in poll.poll()}
    if ready & set(watched):
        raise GivenUp("the process that waited for the venv has gone")
    return ready


def _rest_of(data: bytes, fd: int) -> bytes:
    """The part of the data that is still to be sent; empty if the command has closed its input."""
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""
