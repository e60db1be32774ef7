"""Which servers of this user run: one small file, a *record*, for each of them.

Knows files and processes. Never knows what a server is for. Python 3.10 and up.

A record begins with the number of calls so far. The client counts them in shared memory, which costs nothing, and
``gym-service ps`` reads them there. JSON follows. In the last bytes ``gym-service view`` asks a server for pictures.
The guardian removes the record once the server has ended, also where the client was killed. Where the guardian was
killed too, the record stays, and is known to be stale: its process has ended, or another process has its pid, with
another start time.
"""

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
from gym_service_launcher.standalone import interrupts, procfs

RECORD_BYTES = mmap.PAGESIZE
CALLS_BYTES = 8
# The end of a record belongs to ``gym-service view`` and the server: ``gym_service/server/viewer_link.py`` says how.
VIEWERS_BYTES = 40
VIEWERS_AT = RECORD_BYTES - VIEWERS_BYTES
# How long a server may take to end after SIGTERM. One that is stopped or ignores it takes longer.
TERMINATE_S = 2.0
# The signals that end a process, each with the seconds that it may take then. A listener (``gym-service run``) waits
# for its clients after the first SIGTERM, and ends their servers after the second, which takes some seconds.
SERVER_SIGNALS = ((signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, 0.0))
LISTENER_SIGNALS = ((signal.SIGTERM, 0.5), (signal.SIGTERM, 8.0), (signal.SIGKILL, 0.0))
STARTING, LISTENING, WARM = "starting", "listening", "warm"
STATES = {"R": "running", "S": "waiting", "D": "waiting for a disk", "T": "stopped", "t": "traced", "Z": "dead"}


class PidFile:
    """The record of one server of this process. ``calls[0]`` is the number of calls.

    Where no file can be written, ``path`` is None, and nobody sees the number.
    """

    def __init__(self, below: Path | None = None) -> None:
        """Choose the path. The guardian creates the file: it outlives this process, and removes it.

        ``below`` is the record of the fork server that forks this server. The new name begins like that one, by which
        the guardian finds and removes both once the fork server is gone.
        """
        self.path: Path | None = None
        self._process_id = os.getpid()
        self._count_in(bytearray(CALLS_BYTES))
        with interrupts.suppress(OSError):
            folder = user_dirs.private(user_dirs.runtime_dir())
            stem = below.stem if below else os.getpid()
            self.path = folder / f"{stem}-{os.urandom(6).hex()}.server"

    def create(self) -> None:
        """Create the file, for a record of this process itself. It is removed with ``remove``, or found to be stale."""
        if self.path:
            with interrupts.suppress(OSError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def write(self, name: str, executable: Path, pid: int, status: str = "", *, is_warm: bool = False) -> None:
        """Write the facts, once the process runs and the file has been created. Again after a change.

        ``status``: STARTING, LISTENING or WARM, where the state of the process alone does not say enough. ``is_warm``:
        it is a fork server that outlives this process.
        """
        process = procfs.process(pid)
        if self.path and process and self._process_id == os.getpid():
            facts = {"name": name, "executable": str(executable), "pid": pid, "client_pid": self._process_id}
            facts |= {"is_warm": True, "client_pid": 0} if is_warm else {}
            facts |= {"start_time": process.start_time, "pid_namespace": procfs.pid_namespace(), "status": status}
            content = json.dumps(facts).encode()
            if len(content) <= VIEWERS_AT - CALLS_BYTES:
                with interrupts.suppress(OSError):
                    memory = _mapped(self.path)
                    memory[CALLS_BYTES:VIEWERS_AT] = content.ljust(VIEWERS_AT - CALLS_BYTES, b"\0")
                    self._count_in(memory)

    def remove(self) -> None:
        """Remove the file, unless the guardian has done so. Nobody sees what is counted from here on.

        A forked child of the process that has made it leaves the file: the server is its parent's.
        """
        self._count_in(bytearray(CALLS_BYTES))
        if self.path and self._process_id == os.getpid():
            with interrupts.suppress(OSError):
                self.path.unlink()

    def _count_in(self, memory: bytearray | mmap.mmap) -> None:
        self.calls = memoryview(memory)[:CALLS_BYTES].cast("Q")


def _mapped(path: Path) -> mmap.mmap:
    # A file object closes its descriptor also if an interrupt comes before the block.
    with open(path, "r+b", buffering=0, opener=_opened) as file:
        # Take its space first: on a full disk this fails, and later writes to the memory cannot.
        os.posix_fallocate(file.fileno(), 0, RECORD_BYTES)
        return mmap.mmap(file.fileno(), RECORD_BYTES)


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _content(path: Path) -> bytes:
    with open(path, "rb", opener=_opened) as file:
        return file.read(RECORD_BYTES)


@dataclass(frozen=True)
class ServerInfo:
    """A server that runs: the facts of its record and of its process."""

    name: str
    executable: str
    pid: int
    client_pid: int
    calls: int
    age_s: float
    memory_bytes: int
    state: str
    start_time: int  # of the process; with the pid it names the process for all time
    record: Path
    is_warm: bool = False  # a fork server that outlives its clients; ``client_pid`` is 0

    @property
    def is_listener(self) -> bool:
        """Whether it is no server but ``gym-service run``, which starts servers. Its name is its address."""
        return self.client_pid == self.pid


def list_servers() -> list[ServerInfo]:
    """The servers of this user that run, the oldest first. Removes stale records.

    An empty list where /proc is missing or shows another PID namespace: nothing tells then which servers run.
    """
    found: list[ServerInfo] = []
    folder = user_dirs.runtime_dir()
    try:
        user_dirs.private(folder, create=False)
    except OSError as error:  # it does not exist, or belongs to another user
        interrupts.raise_if_from_handler(error)
        return found
    if not procfs.is_ours():
        return found
    for path in folder.glob("*.server"):
        with interrupts.suppress(OSError, ValueError, KeyError, TypeError):
            content = _content(path)
            facts = json.loads(content[CALLS_BYTES:VIEWERS_AT].rstrip(b"\0") or b"{}")
            if facts.get("pid_namespace", procfs.pid_namespace()) != procfs.pid_namespace():
                continue  # its pid means nothing here: the folder is shared with a container
            process = procfs.process(facts["pid"] if facts else int(path.name.partition("-")[0]))
            if facts and process and process.start_time == facts["start_time"]:
                calls = int.from_bytes(content[:CALLS_BYTES], sys.byteorder)
                found.append(_running(facts, calls, process, path))
            elif facts or process is None:  # without facts it is new, and this is the process that writes them
                path.unlink()
    return sorted(found, key=lambda server: -server.age_s)


def servers_in(folder: Path) -> list[ServerInfo]:
    """The servers of this user whose interpreter lies in this folder."""
    return [server for server in list_servers() if Path(server.executable).is_relative_to(folder)]


def stop(server: ServerInfo) -> bool:
    """End a server with SIGTERM, and TERMINATE_S later with SIGKILL. Its client's next call raises ServerCrashed.

    A listener ends with its servers. Blocks for TERMINATE_S at most, for a listener for some eight seconds. False
    where it has ended already.
    """
    try:
        pidfd = os.pidfd_open(server.pid)
    except ProcessLookupError as error:
        interrupts.raise_if_from_handler(error)
        return False
    try:
        # Only now: the pidfd keeps naming the same process, so this tells whether that is the record's.
        process = procfs.process(server.pid)
        if process is None or process.start_time != server.start_time:
            return False
        end = select.poll()
        end.register(pidfd, select.POLLIN)
        for number, wait_s in LISTENER_SIGNALS if server.is_listener else SERVER_SIGNALS:
            signal.pidfd_send_signal(pidfd, number)
            if end.poll(wait_s * 1000):
                break
    except ProcessLookupError as error:
        interrupts.raise_if_from_handler(error)
        return False
    finally:
        os.close(pidfd)
    return True


def _running(facts: dict[str, Any], calls: int, process: procfs.Process, record: Path) -> ServerInfo:
    return ServerInfo(
        name=facts["name"],
        executable=facts["executable"],
        pid=facts["pid"],
        client_pid=facts["client_pid"],
        calls=calls,
        # Not by the wall clock, which may be set.
        age_s=max(0.0, procfs.uptime_s() - process.start_time / os.sysconf("SC_CLK_TCK")),
        memory_bytes=process.memory_bytes,
        state=(process.state not in "Tt" and facts.get("status")) or STATES.get(process.state, process.state),
        start_time=process.start_time,
        record=record,
        is_warm=facts.get("is_warm", False),
    )
