"""``gym-service ps``, ``logs`` and ``stop``: the running servers, their output and their end.

Knows pid files, logs and the terminal. Never knows how a server is started. Python 3.10 and up.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gym_service_launcher.errors import GymServiceError
from gym_service_launcher.processes import logs, pidfiles
from gym_service_launcher.processes.pidfiles import ServerInfo

from gym_service.cli.tables import print_columns

HEADINGS = ("env", "pid", "state", "age", "calls", "memory", "client", "interpreter")
COLORS = {
    **dict.fromkeys(("running", "waiting", pidfiles.LISTENING, pidfiles.WARM), "green"),
    **dict.fromkeys((pidfiles.STARTING, "stopped", "traced"), "yellow"),
}
# Seconds between two reads of a log that is followed.
FOLLOW_S = 0.1
READ_BYTES = 65536


def show(*, as_json: bool = False) -> int:
    """Print the running servers of this user, the oldest first. Returns the exit code."""
    running = pidfiles.list_servers()
    rows = [_cells(server) for server in running]
    if as_json:
        print(json.dumps([_data(server) for server in running], indent=1))
    elif not rows:
        print("you have no running server")
    elif sys.stdout.isatty():
        _draw(running, rows)
    else:
        print_columns([HEADINGS, *rows])
    return 0


def show_log(which: str, *, follow: bool) -> int:
    """Print the log of a server, including its rotated part.

    Args:
        which: the env's name, for its newest server, or the server's pid.
        follow: continue until the server has ended. Blocks for as long.

    Raises:
        GymServiceError: there is no such log.
    """
    path = _log_of(which)
    parts = _followed(path, int(path.name.split(".")[-2])) if follow else _read(path)
    for part in parts:
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    return 0


def stop(which: str) -> int:
    """Stop the servers of an env by its name, one server by its pid, or ``gym-service run`` by its address.

    Blocks for at most two seconds for each server, and some eight for ``gym-service run``, which ends its servers.

    Raises:
        GymServiceError: no such server is running.
    """
    found = [server for server in pidfiles.list_servers() if which in _names(server)]
    if not found:
        names = ", ".join(sorted({server.name for server in pidfiles.list_servers()})) or "none"
        raise GymServiceError(f"you have no running server {which!r}; running: {names}\n  try: gym-service ps")
    return _stop_all(found)


def stop_warm() -> int:
    """Stop all warm fork servers; the servers that they have forked go on. Blocks for at most two seconds for each."""
    found = [server for server in pidfiles.list_servers() if server.is_warm]
    if not found:
        print("you have no warm fork server")
    return _stop_all(found)


def _stop_all(found: list[ServerInfo]) -> int:
    for server in found:
        how = "stopped" if pidfiles.stop(server) else "had already ended"
        print(f"{server.name} (pid {server.pid}): {how}", flush=True)
    return 0


def _names(server: ServerInfo) -> tuple[str, ...]:
    """What a server can be called on the command line. The path of a socket stands for its address."""
    return server.name, str(server.pid), server.name.removeprefix("unix://")


def age(seconds: float) -> str:
    """A duration in its two largest units."""
    minutes, whole_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole_s} s" if minutes else f"{whole_s} s"


def _cells(server: ServerInfo) -> tuple[str, ...]:
    memory = f"{server.memory_bytes / 2**20:.0f} MiB"
    calls, client = (str(server.calls), str(server.client_pid)) if _has_client(server) else ("", "")
    return (server.name, str(server.pid), server.state, age(server.age_s), calls, memory, client, server.executable)


def _has_client(server: ServerInfo) -> bool:
    return not (server.is_listener or server.is_warm)


def _data(server: ServerInfo) -> dict[str, object]:
    calls, client = (server.calls, server.client_pid) if _has_client(server) else (None, None)
    return {
        "env": server.name,
        "pid": server.pid,
        "state": server.state,
        "age_s": round(server.age_s, 1),
        "calls": calls,
        "memory_bytes": server.memory_bytes,
        "client_pid": client,
        "interpreter": server.executable,
    }


def _draw(running: list[ServerInfo], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        is_number = heading in ("pid", "age", "calls", "memory", "client")
        table.add_column(heading, overflow="fold", justify="right" if is_number else "left", no_wrap=is_number)
    for server, row in zip(running, rows, strict=True):
        # As Text, because rich must not read markup in what the user wrote.
        table.add_row(*(Text(cell, COLORS.get(server.state, "") if cell == server.state else "") for cell in row))
    Console().print(table)


def _log_of(which: str) -> Path:
    found = logs.find(which) or logs.of_pid(which)
    if not found:
        names = ", ".join(logs.names()) or "none"
        text = f"there is no log of {which!r}: its server printed nothing or ended long ago; there are logs of: {names}"
        raise GymServiceError(f"{text}\n  try: ls {logs.folder()}")
    return found[0]


def _read(path: Path) -> Iterator[bytes]:
    for part in (logs.older(path), path):
        with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
            while data := file.read(READ_BYTES):
                yield data


def _followed(path: Path, pid: int) -> Iterator[bytes]:
    """The content of a log and what is added to it, until its server has ended."""
    with contextlib.suppress(FileNotFoundError), logs.older(path).open("rb") as file:
        yield file.read()
    has_ended = False
    while not has_ended:
        with path.open("rb") as file:
            # Check for the end and for a rotation before the last read, so that nothing is missed.
            is_replaced = False
            while not (has_ended or is_replaced):
                has_ended = all(server.pid != pid for server in pidfiles.list_servers())
                is_replaced = _is_replaced(path, file.fileno())
                while data := file.read(READ_BYTES):
                    yield data
                if not (has_ended or is_replaced):
                    time.sleep(FOLLOW_S)


def _is_replaced(path: Path, fd: int) -> bool:
    """Whether the log was rotated: its name now belongs to another file."""
    with contextlib.suppress(FileNotFoundError):
        return not os.path.samestat(path.stat(), os.fstat(fd))
    return False  # the log is being rotated, and the new file appears in a moment
