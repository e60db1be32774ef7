"""From an entry with an address to a proven connection, and from a broken one to the reason.

Knows addresses, the handshake, and how long somebody may take to begin to listen. Never knows what travels over the
connection, nor anything of the server's process: that is its own host's to see to. Python 3.10 and up.
"""

import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gym_service_launcher import tcp, tokens
from gym_service_launcher.config import Entry
from gym_service_launcher.errors import AuthError, ConnectionLost, ServerStartError
from gym_service_launcher.handshake import LIMIT_S, Handshake, perform

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5


@dataclass(frozen=True)
class RemoteLink:
    """A connection to a server that somebody else has started: what ``supervisor.Link`` is for one of our own."""

    address: str
    sock: socket.socket
    pipes: None = None
    mark: bytes = b""
    arena_sock: None = None
    hold: None = None
    warning: str = ""
    begun: float = field(default_factory=time.monotonic)

    @property
    def executable(self) -> str:
        """Whose interpreter it is, in words: no path of another host means anything here."""
        return f"the interpreter of the server at {self.address}"

    def died(self, during: str) -> ConnectionLost:
        """The error for a connection that ended during a call."""
        text = f"the server at {self.address} is gone: its connection ended during {during}"
        text += "\n  try: read what gym-service run, or SocketGymServer, printed there; then make the env anew"
        return ConnectionLost(text, during=during, address=self.address)

    def failed_to_start(
        self, reason: str, advice: str = "", *, in_time: bool = True, tail: str | None = None
    ) -> ServerStartError:
        """The error for a server that was reached and made no env."""
        text = f"the server at {self.address} made no env: {reason or 'its connection ended'}"
        text += f"\n  try: {advice or 'read what gym-service run, or SocketGymServer, printed there'}"
        return ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")

    def close(self, ask_s: float) -> None:
        """Nothing: the end of the connection ends the server."""

    def tail(self) -> str:
        """Empty: what the server prints is shown where it runs."""
        return ""

    def silence(self) -> tuple[str, str]:
        """Nothing is known here of a process elsewhere."""
        return "silent", ""

    @property
    def calls(self) -> memoryview:
        """Where to count the calls; nobody looks."""
        return memoryview(bytearray(8)).cast("Q")


def dial(entry: Entry, progress: Callable[[str], None]) -> RemoteLink:
    """Connect to the server at the entry's address and prove each other's identity.

    Blocks until somebody listens there, at most ``entry.timeouts.start`` seconds, and for the handshake, at most
    LIMIT_S seconds. ``progress`` is told once if there is anything to wait for.

    Raises:
        ServerStartError: nobody listens there, or there is no such host.
        AuthError: no token here, another one there, or what listens there is no gym-service.
    """
    assert entry.address, "an entry has an address or an interpreter"
    begun = time.monotonic()
    sock = _connected(entry.address, entry.timeouts.start, progress)
    file = entry.token_file or tokens.usual_file()
    try:
        perform(sock, Handshake("client", tokens.read(file)), min(LIMIT_S, entry.timeouts.start))
    except AuthError as error:
        sock.close()
        raise _refused(entry.address, error, file) from error.__cause__
    except BaseException:
        sock.close()
        raise
    return RemoteLink(entry.address, sock, begun=begun)


def _refused(address: str, error: AuthError, file: Path) -> AuthError:
    text = f"{address}: {error}"
    if str(file) not in text:
        text += f"\n  token: {file}\n  try: the token file of the server, token_file = …"
    return AuthError(text)


def _connected(address: str, timeout_s: float, progress: Callable[[str], None]) -> socket.socket:
    deadline = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return _connect(address, max(deadline - time.monotonic(), FIRST_PAUSE_S))
        except (socket.gaierror, UnicodeError) as error:
            raise _not_reached(address, f"there is no such host ({error})", "another spelling of its name") from error
        except OSError as error:
            if time.monotonic() + pause_s >= deadline:
                advice = f"gym-service run --venv ./sim_env --tcp {address.removeprefix('tcp://')}"
                reason = f"{error.strerror or error}, for {timeout_s:g} s"
                raise _not_reached(address, reason, advice) from error
            if pause_s == FIRST_PAUSE_S:
                progress(f"nobody listens at {address} yet ({error.strerror or error}): trying for {timeout_s:g} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _not_reached(address: str, reason: str, advice: str) -> ServerStartError:
    text = f"no server was reached at {address}: {reason}\n  try: {advice}"
    return ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")


def _connect(address: str, timeout_s: float) -> socket.socket:
    if address.startswith("unix://"):
        return _connect_unix(address.removeprefix("unix://"), timeout_s)
    sock = socket.create_connection(tcp.host_and_port(address), timeout_s)
    if sock.getsockname() == sock.getpeername():
        # Nobody listens, and the port that this end was given happened to be the one it wanted to reach.
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    tcp.tune(sock)
    return sock


def _connect_unix(path: str, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
