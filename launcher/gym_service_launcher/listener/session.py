"""A client that was let in, and the server process that it was given.

Knows children, their tally and their record, and the relay of TLS. Never knows how a client has proven itself, nor when
it is to go: that is the listener's. Python 3.10 and up.
"""

import contextlib
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gym_service_launcher.listener.counters import Counters
from gym_service_launcher.processes import pidfiles
from gym_service_launcher.processes.child import FIRST_PASSED_FD, Child, Rung, ending
from gym_service_launcher.servers import program

if TYPE_CHECKING:
    import ssl

    from gym_service_launcher.listener.tls_relay import Relay

# How long a server whose client has gone may still be in a call, which nobody waits for any more; and how long, in no
# call, it may take to close its env.
CALL_S, LEAVE_S = 0.3, 5.0
LATE = f"it did not end within {LEAVE_S:g} s of its client"
SHOWN_LINES = 20
# What ps calls a server that has made no env yet.
UNMADE = "run"


@dataclass(frozen=True)
class ServerOptions:
    """How servers are started, and what their clients may have them do."""

    executable: Path
    variables: Mapping[str, str] = field(repr=False)
    ids: tuple[str, ...] = ()
    allow_import: bool = False

    def argv(self) -> list[str]:
        """The command of one that is given its socket as the first of its descriptors, its tally as the second."""
        options = ["--negotiate-arena", "--fd", str(FIRST_PASSED_FD), "--counters", str(FIRST_PASSED_FD + 1)]
        options += ["--no-pickle" if self.allow_import else "--no-import"]
        for env_id in self.ids:
            options += ["--allow", env_id]
        return program.server_argv(self.executable, *options)


class Session:
    """One client and its server. ``sock`` is a copy of the client's socket: to be polled and shut, never read."""

    def __init__(self, sock: socket.socket, name: str, servers: ServerOptions, *, secured: bool) -> None:
        """Start a server, and own the socket once that has worked. Raises OSError."""
        self.name = name
        self.env_id = ""
        self.started_at = self._active = time.monotonic()
        self.deadline = math.inf  # once its client has gone: when it is to be looked at
        self._left = math.inf  # when its client has gone
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
            given.setblocking(True)  # a property that the server's copy shares
            fds = (given.fileno(), self._counters.fd)
            self.child = Child(servers.argv(), servers.variables, pass_fds=fds, name=UNMADE)
            ours.pop_all()
        self._relay = _relay(sock, plain) if secured else None

    @property
    def steps(self) -> int:
        return self._counters.counts()[2]

    @property
    def memory_bytes(self) -> int:
        """Of the server's process alone, without what it has started."""
        process = pidfiles.process_of(self.child.pid)
        return process.memory_bytes if process else 0

    def refresh(self) -> bool:
        """Take note of what it does. True once, when it has made its env."""
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
        """How long nothing was computed for its client, as of the last look; its server's start counts as that."""
        return time.monotonic() - self._active

    def hang_up(self) -> None:
        """Its client has gone, or is to go: a server that is well sees the end of the stream, and closes its env."""
        self._left = min(self._left, time.monotonic())
        self.deadline = self._left + CALL_S
        shut(self.sock)

    def deadline_passed(self) -> bool:
        """Whether, at the deadline, it is to be killed; else it closes its env, and the deadline is another."""
        if self._is_in_a_call or time.monotonic() >= self._left + LEAVE_S:
            return True
        self.deadline = self._left + LEAVE_S
        return False

    @property
    def _is_in_a_call(self) -> bool:
        begun, answered, _ = self._counters.counts()
        return begun > answered

    def end(self) -> str:
        """Kill the server, if it still runs; then nothing of it is left. How it was, in words."""
        late = f"{CALL_S:g} s after its client it was in a call" if self._is_in_a_call else LATE
        rung = self.child.stop(0.0, 0.0)
        if self._relay:
            self.sock.close()  # the relay shuts it, once it has passed on what the server said last
        else:
            shut(self.sock)
        after_s = time.monotonic() - self.started_at
        what = f"{self.env_id}, {self.steps:,} step{'s' if self.steps != 1 else ''}, " if self.env_id else ""
        return (
            f"{self.name} gone after {after_s:.1f} s: {what}server {self.child.pid}, {_ending(self.child, rung, late)}"
        )

    @property
    def is_draining(self) -> bool:
        """Whether, after ``end``, something is still on its way to the client."""
        return self._relay is not None and self._relay.is_running

    def abort(self) -> None:
        """End that too."""
        if self._relay:
            self._relay.stop()


def _relay(sock: socket.socket, plain: socket.socket) -> "Relay":
    from gym_service_launcher.listener.tls_relay import Relay  # imports ssl

    return Relay(cast("ssl.SSLSocket", sock), plain)


def shut(sock: socket.socket) -> None:
    """End both directions for every process that holds the socket, then close this copy. Any number of times."""
    with contextlib.suppress(OSError):  # the other side was first, or it is closed already
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _ending(child: Child, rung: Rung, late: str) -> str:
    """How a server ended; one that did so badly has its last words with it."""
    if rung != "ended by itself":
        return f"{rung}, since {late}"
    exit_code = child.exit_code()
    lines = child.tail().splitlines()[-SHOWN_LINES:] if exit_code != 0 else []
    return "\n    ".join([ending(exit_code), *lines])
