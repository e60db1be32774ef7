"""One authenticated client and its server process.

Knows the child process, its counters and its pid file, and the TLS relay. Never knows how a client authenticated, nor
when it must be disconnected: the listener does. Python 3.10 and up.
"""

import contextlib
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gym_service_launcher.listener.counters import Counters
from gym_service_launcher.net import same_host
from gym_service_launcher.processes.child import FIRST_PASSED_FD, Child, Rung
from gym_service_launcher.servers import program
from gym_service_launcher.standalone import procfs

if TYPE_CHECKING:
    import ssl

    from gym_service_launcher.listener.tls_relay import Relay
    from gym_service_launcher.listener.warm_starts import WarmStarts
    from gym_service_launcher.processes.forkservers import AnyForkServer

# Seconds, once the client has disconnected: how long the server may still be in a call, whose result nobody reads; and
# how long a server that is in no call may take to close its env.
CALL_S, LEAVE_S = 0.3, 5.0
LATE = f"it was still running {LEAVE_S:g} s after its client disconnected"
SHOWN_LINES = 20
# The name in `gym-service ps` of a server that has made no env yet.
UNMADE = "run"


@dataclass(frozen=True)
class ServerOptions:
    """How servers are started, and what their clients may do."""

    executable: Path
    variables: Mapping[str, str] = field(repr=False)
    ids: tuple[str, ...] = ()
    allow_import: bool = False
    words: tuple[str, ...] = ()  # what comes before the command of a server, as in TargetEnvironment
    warm: "WarmStarts | None" = None  # forks them, where it can

    def argv(self) -> list[str]:
        """The command of a server. Its first passed descriptor is the client's socket, its second the counters."""
        options = ["--fd", str(FIRST_PASSED_FD), "--negotiate-arena", same_host.PREAMBLE_FORM]
        options += ["--counters", Counters.option(FIRST_PASSED_FD + 1)]
        options += ["--no-pickle" if self.allow_import else "--no-import"]
        for env_id in self.ids:
            options += ["--allow", env_id]
        return [*self.words, *program.server_argv(self.executable, *options)]

    def start(self, fds: Sequence[int]) -> Child:
        """Start a server with these descriptors. Raises OSError."""
        return self.warm.start(partial(self._started, fds)) if self.warm else self._started(fds, None)

    def _started(self, fds: Sequence[int], fork_server: "AnyForkServer | None") -> Child:
        return Child(
            self.argv(),
            fork_server.own_variables if fork_server else self.variables,
            pass_fds=fds,
            name=UNMADE,
            executable=self.executable,
            spawner=fork_server,
            record_option=program.VIEWERS_OPTION,
        )


class Session:
    """One client and its server. ``sock`` is a copy of the client's socket, to poll and to shut down, never to read."""

    def __init__(self, sock: socket.socket, name: str, servers: ServerOptions, *, secured: bool) -> None:
        """Start a server and take over the socket. Raises OSError, and then leaves the socket to the caller."""
        self.name = name
        self.env_id = ""
        self.started_at = self._active = time.monotonic()
        self.deadline = math.inf  # once the client has disconnected: when to check the server
        self._disconnected_at = math.inf
        self._answered = (0, 0)
        self._counters = Counters()
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            theirs.callback(self._counters.close_fd)
            given = self.sock = sock
            if secured:
                plain, given = socket.socketpair()
                theirs.enter_context(given)
                ours.enter_context(plain)
                self.sock = ours.enter_context(socket.socket(fileno=os.dup(sock.fileno())))
            given.setblocking(True)  # the server's copy shares this property
            self.child = servers.start((given.fileno(), self._counters.fd))
            ours.pop_all()
        self._relay = _relay(sock, plain) if secured else None

    @property
    def steps(self) -> int:
        return self._counters.counts()[2]

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the server process, without its children."""
        process = procfs.process(self.child.pid)
        return process.memory_bytes if process else 0

    def refresh(self) -> bool:
        """Read the counters. True once: when the server has made its env."""
        begun, answered, _ = self._counters.counts()
        self.child.calls[0] = begun
        if not self._counters.is_up or begun > answered or (begun, answered) != self._answered:
            self._answered, self._active = (begun, answered), time.monotonic()
        if self.env_id or not self._counters.env_id:
            return False
        self.env_id = self._counters.env_id
        self.child.rename(self.env_id)
        return True

    def idle_s(self) -> float:
        """How long the server has had nothing to do, as of the last ``refresh``. Its start does not count as idle."""
        return time.monotonic() - self._active

    def disconnect(self) -> None:
        """Shut down the client's socket. A healthy server sees the end of the stream and closes its env."""
        self._disconnected_at = min(self._disconnected_at, time.monotonic())
        self.deadline = self._disconnected_at + CALL_S
        shut(self.sock)

    def deadline_passed(self) -> bool:
        """Whether the server must be killed now. If it is closing its env, the deadline moves once."""
        if self._is_in_a_call or time.monotonic() >= self._disconnected_at + LEAVE_S:
            return True
        self.deadline = self._disconnected_at + LEAVE_S
        return False

    @property
    def _is_in_a_call(self) -> bool:
        begun, answered, _ = self._counters.counts()
        return begun > answered

    def end(self) -> str:
        """Kill the server if it still runs, with all its children. Returns a line about the session for the log."""
        late = f"it was still in a call {CALL_S:g} s after its client disconnected" if self._is_in_a_call else LATE
        rung = self.child.stop(0.0, 0.0)
        if self._relay:
            self.sock.close()  # the relay shuts it down once it has passed on the last bytes of the server
        else:
            shut(self.sock)
        after_s = time.monotonic() - self.started_at
        what = f"{self.env_id}, {self.steps:,} step{'s' if self.steps != 1 else ''}, " if self.env_id else ""
        return (
            f"{self.name} disconnected after {after_s:.1f} s: {what}server {self.child.pid}, "
            f"{_ending(self.child, rung, late)}"
        )

    @property
    def is_draining(self) -> bool:
        """Whether, after ``end``, the relay still sends bytes to the client."""
        return self._relay is not None and self._relay.is_running

    def abort(self) -> None:
        """Stop the relay."""
        if self._relay:
            self._relay.stop()


def _relay(sock: socket.socket, plain: socket.socket) -> "Relay":
    from gym_service_launcher.listener.tls_relay import Relay  # imports ssl

    return Relay(cast("ssl.SSLSocket", sock), plain)


def shut(sock: socket.socket) -> None:
    """Shut down both directions for every process that holds the socket, and close this copy. May be called again."""
    with contextlib.suppress(OSError):  # the other side has shut it down, or it is already closed
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _ending(child: Child, rung: Rung, late: str) -> str:
    """How a server ended; with the end of its output if it failed."""
    if rung != "ended by itself":
        return f"{rung} because {late}"
    exit_code = child.exit_code()
    lines = child.tail().splitlines()[-SHOWN_LINES:] if exit_code != 0 else []
    return "\n    ".join([child.describe_exit(exit_code), *lines])
