"""Which servers of this user are running: one small file each, which goes with its server.

Knows files and /proc. Never knows what a server is for. Python 3.10 and up.

The file begins with the number of calls so far, which the client counts in shared memory: counting costs nothing, and
whoever looks (``gym-service ps``) sees it move. The rest is JSON. The guardian removes the file when the server has
ended, also where the client was killed; a file that outlived even the guardian is known by its process's start time.
"""

import contextlib
import json
import mmap
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_service_launcher import user_dirs

RECORD_BYTES = mmap.PAGESIZE
CALLS_BYTES = 8
# How long a server may take to end by SIGTERM; one that is stopped or deaf does not.
TERMINATE_S = 2.0
STATES = {"R": "running", "S": "waiting", "D": "waiting for a disk", "T": "stopped", "t": "traced", "Z": "dead"}


class PidFile:
    """The record of one server, while this process holds it. ``calls[0]`` is the number of calls.

    Where no file can be written ``path`` is None, and only the count counts.
    """

    def __init__(self, below: Path | None = None) -> None:
        """Choose where it is to be. The guardian makes the file, since it outlives this process to remove it.

        Of a server that was forked, its name begins like the record ``below`` of what has forked it, and if that is
        killed the guardian removes both.
        """
        self.path: Path | None = None
        self._count_in(bytearray(CALLS_BYTES))
        with contextlib.suppress(OSError):
            folder = user_dirs.private(user_dirs.runtime_dir())
            stem = below.stem if below else os.getpid()
            self.path = folder / f"{stem}-{os.urandom(6).hex()}.server"

    def write(self, name: str, executable: Path, pid: int) -> None:
        """Say whose it is, once its process runs and the file is there; again where it is another's by now."""
        process = process_of(pid)
        if self.path and process:
            facts = {"name": name, "executable": str(executable), "pid": pid, "client_pid": os.getpid()}
            content = json.dumps({**facts, "start_time": process.start_time}).encode()
            if len(content) <= RECORD_BYTES - CALLS_BYTES:
                with contextlib.suppress(OSError):
                    memory = _mapped(self.path)
                    memory[CALLS_BYTES:] = content.ljust(RECORD_BYTES - CALLS_BYTES, b"\0")
                    self._count_in(memory)

    def remove(self) -> None:
        """Remove the file, unless the guardian has done so; what is counted from here on is for nobody."""
        self._count_in(bytearray(CALLS_BYTES))
        if self.path:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _count_in(self, memory: bytearray | mmap.mmap) -> None:
        self.calls = memoryview(memory)[:CALLS_BYTES].cast("Q")


def _mapped(path: Path) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        # Its room is taken up front: on a full disk this fails, and no write to the memory can.
        os.posix_fallocate(fd, 0, RECORD_BYTES)
        return mmap.mmap(fd, RECORD_BYTES)
    finally:
        os.close(fd)


def _content(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        return file.read(RECORD_BYTES)


@dataclass(frozen=True)
class ServerInfo:
    """A server that runs: what its record says, and what /proc says of its process."""

    name: str
    executable: str
    pid: int
    client_pid: int
    calls: int
    age_s: float
    memory_bytes: int
    state: str
    start_time: int  # of the process, in the kernel's ticks since boot: with the pid it names it for all time


@dataclass(frozen=True)
class Process:
    """What /proc says of a process."""

    state: str
    start_time: int
    memory_bytes: int


def list_servers() -> list[ServerInfo]:
    """The servers of this user that run, the oldest first. Removes the records of those that do not."""
    found = []
    folder = user_dirs.runtime_dir()
    try:
        user_dirs.private(folder, create=False)
    except OSError:  # there is none, or what it says is not this user's word
        return []
    for path in folder.glob("*.server"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = _content(path)
            facts = json.loads(content[CALLS_BYTES:].rstrip(b"\0") or b"{}")
            process = process_of(facts["pid"]) if facts else None
            if process and process.start_time == facts["start_time"]:
                found.append(_running(facts, int.from_bytes(content[:CALLS_BYTES], sys.byteorder), process))
            elif facts or not _exists(int(path.name.partition("-")[0])):
                path.unlink()
    return sorted(found, key=lambda server: -server.age_s)


def servers_in(folder: Path) -> list[ServerInfo]:
    """The servers of this user whose interpreter lies in this folder."""
    return [server for server in list_servers() if Path(server.executable).is_relative_to(folder)]


def stop(server: ServerInfo) -> bool:
    """End a server, with SIGTERM, and with SIGKILL where that does not; its client's next call says so.

    Blocks for at most TERMINATE_S. False where it has ended already.
    """
    try:
        pidfd = os.pidfd_open(server.pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at after the pidfd is held: what it names now is the process that the record means, or is not.
        process = process_of(server.pid)
        if process is None or process.start_time != server.start_time:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        end = select.poll()
        end.register(pidfd, select.POLLIN)
        if not end.poll(TERMINATE_S * 1000):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def _running(facts: dict[str, Any], calls: int, process: Process) -> ServerInfo:
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return ServerInfo(
        name=facts["name"],
        executable=facts["executable"],
        pid=facts["pid"],
        client_pid=facts["client_pid"],
        calls=calls,
        # Not by the wall clock, which may be set.
        age_s=max(0.0, uptime_s - process.start_time / os.sysconf("SC_CLK_TCK")),
        memory_bytes=process.memory_bytes,
        state=STATES.get(process.state, process.state),
        start_time=process.start_time,
    )


def process_of(pid: int) -> Process | None:
    """What /proc says of a process; None where it has ended, or where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(fields[0], int(fields[19]), int(fields[21]) * mmap.PAGESIZE)


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
