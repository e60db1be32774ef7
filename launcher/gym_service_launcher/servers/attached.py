"""From an entry with an address to a proven connection, and from a broken one to the reason.

Knows addresses, TLS, the handshake, and how long somebody may take to begin to listen. Never knows what travels over
the connection, nor anything of the server's process: that is its own host's to see to. Python 3.10 and up.
"""

import errno
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import AuthError, ConnectionLost, ServerStartError
from gym_service_launcher.net import tcp, tokens, unix
from gym_service_launcher.net.handshake import (
    LIMIT_S,
    UNIX_PEER_KEY,
    Handshake,
    HandshakeTimeout,
    ServerFullError,
    perform,
)
from gym_service_launcher.net.same_host import NO_SHARED_MEMORY, LoopbackRendezvous, PassedSocket
from gym_service_launcher.net.tokens import Token
from gym_service_launcher.standalone.env_vars import TOKEN

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for no time
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5


@dataclass(frozen=True)
class AttachedServer:
    """A connection to a server that somebody else has started: what ``supervisor.Link`` is for one of our own."""

    address: str
    sock: socket.socket
    is_secured: bool = False  # then it is an ssl.SSLSocket
    pipes: None = None
    mark: bytes = b""  # what the server says first
    arena_sock: None = None
    same_host: LoopbackRendezvous | PassedSocket | None = (
        None  # tells whether memory is shared, once the server has said the ``mark``
    )
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
        """Close the connection, where it is still open; its end ends the server."""
        for end in (self.sock, self.same_host):
            if end is not None:
                end.close()

    def tail(self) -> str:
        """Empty: what the server prints is shown where it runs."""
        return ""

    def diagnose(self) -> tuple[str, str]:
        """Nothing is known here of a process elsewhere."""
        return "unknown", ""

    @property
    def calls(self) -> memoryview:
        """Where to count the calls; nobody looks."""
        return memoryview(bytearray(8)).cast("Q")


def attach(entry: Entry, progress: Callable[[str], None]) -> AttachedServer:
    """Connect to the server at the entry's address and prove each other's identity.

    Blocks until somebody listens there and has room, at most ``entry.timeouts.start`` seconds. ``progress`` is told
    once if there is anything to wait for.

    Raises:
        ServerStartError: nobody listens there, it has no room, or there is no such host.
        AuthError: no token here, another one or another certificate there, or what listens there is no gym-service.
        ConfigError: the certificates of ``tls_ca`` cannot be read.
    """
    assert entry.address, "an entry has an address or an interpreter"
    begun = time.monotonic()
    attempts = _RetryBackoff(entry.address, entry.timeouts.start, progress)
    while True:
        try:
            sock = _connect_and_authenticate(entry, attempts.remaining_s())
            return _link(entry, sock, begun)
        except AuthError as error:
            if not (isinstance(error, HandshakeTimeout) and attempts.may_go_on(str(error).partition("\n")[0])):
                raise AuthError(f"{entry.address}: {error}") from error.__cause__
        except ServerFullError as error:
            attempts.failed(str(error), error, "--max-clients there, or fewer clients at once")
        except (socket.gaierror, UnicodeError) as error:
            raise _not_reached(
                entry.address, f"there is no such host ({error})", "another spelling of its name"
            ) from error
        except OSError as error:
            attempts.failed(error.strerror or str(error), error, _how_to_start(entry.address))


class _RetryBackoff:
    """Until when to try again, and how long to wait before that."""

    def __init__(self, address: str, timeout_s: float, progress: Callable[[str], None]) -> None:
        self._address, self._timeout_s, self._progress = address, timeout_s, progress
        self._deadline = time.monotonic() + timeout_s
        self._pause_s = FIRST_PAUSE_S

    def remaining_s(self) -> float:
        return max(self._deadline - time.monotonic(), FIRST_PAUSE_S)

    def failed(self, reason: str, error: Exception, advice: str) -> None:
        """Wait until the next one. Raises ServerStartError where there is no time for it."""
        if not self.may_go_on(reason):
            raise _not_reached(self._address, f"{reason}, for {self._timeout_s:g} s", advice) from error

    def may_go_on(self, reason: str) -> bool:
        """Wait until the next one; False, at once, where there is no time for it."""
        if time.monotonic() + self._pause_s >= self._deadline:
            return False
        if self._pause_s == FIRST_PAUSE_S:
            self._progress(f"no server at {self._address} yet ({reason}): trying for {self._timeout_s:g} s")
        # Each for another time: who was sent away in a crowd must not come back in the same crowd.
        time.sleep(self._pause_s * random.uniform(0.5, 1.0))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return True


def _link(entry: Entry, sock: socket.socket, begun: float) -> AttachedServer:
    """What the env is made over. Raises OSError where the server has gone again."""
    assert entry.address
    same_host: LoopbackRendezvous | PassedSocket | None = None
    try:
        if sock.family == socket.AF_UNIX:
            same_host = PassedSocket(sock)
        else:
            # Whoever asks for coded pictures has a network in mind, though it may look like this machine: a tunnel.
            # Whoever asks for TLS has, too.
            if entry.frames == "raw" and not _wants_tls(entry) and tcp.is_loopback(sock):
                same_host = LoopbackRendezvous()
            sock.sendall(same_host.preamble if same_host else NO_SHARED_MEMORY)
    except BaseException:
        sock.close()
        if same_host:
            same_host.close()
        raise
    mark = same_host.preamble if same_host else NO_SHARED_MEMORY
    return AttachedServer(entry.address, sock, _wants_tls(entry), mark=mark, same_host=same_host, begun=begun)


def _connect_and_authenticate(entry: Entry, timeout_s: float) -> socket.socket:
    """A connection whose two ends know each other."""
    assert entry.address
    sock = _connect(entry.address, timeout_s)
    try:
        # Not before: a server that has begun to listen meanwhile may have made it.
        token = UNIX_PEER_KEY if sock.family == socket.AF_UNIX else tokens.of_client(entry.token_file)
        limit_s = min(LIMIT_S, timeout_s)
        deadline = time.monotonic() + limit_s
        if _wants_tls(entry):
            sock = _secured(sock, entry, limit_s)
        _authenticate(sock, token, max(deadline - time.monotonic(), FIRST_PAUSE_S), _wants_tls(entry))
    except BaseException:
        sock.close()
        raise
    return sock


def _wants_tls(entry: Entry) -> bool:
    return bool(entry.tls_ca or entry.tls_sha256)


def _secured(sock: socket.socket, entry: Entry, limit_s: float) -> socket.socket:
    from gym_service_launcher.net import tls  # imports ssl

    sock.settimeout(limit_s)
    host, _ = tcp.host_and_port(entry.address or "")
    try:
        return tls.connect(sock, host, entry.tls_ca, entry.tls_sha256)
    except TimeoutError:
        raise HandshakeTimeout(f"the handshake of TLS was not done within {limit_s:.3g} s") from None


def _authenticate(sock: socket.socket, token: Token, limit_s: float, is_secured: bool) -> None:
    try:
        perform(sock, Handshake("client", token), limit_s)
    except AuthError as error:
        if token is UNIX_PEER_KEY:
            raise
        text = f"{error}\n  token: {token.origin}\n  try: the token of that server: token_file = …, or ${TOKEN}"
        raise type(error)(text + ("" if is_secured else "; and tls_sha256 = …, if it prints one")) from error.__cause__


def _how_to_start(address: str) -> str:
    where = address.removeprefix("tcp://") if address.startswith("tcp://") else address.removeprefix("unix://")
    return f"gym-service run --venv ./sim_env --{address.partition(':')[0]} {where}"


def _not_reached(address: str, reason: str, advice: str) -> ServerStartError:
    text = f"no server was reached at {address}: {reason}\n  try: {advice}"
    return ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")


def _connect(address: str, timeout_s: float) -> socket.socket:
    if address.startswith("unix://"):
        return unix.connect(address.removeprefix("unix://"), timeout_s)
    sock = socket.create_connection(tcp.host_and_port(address), timeout_s)
    if sock.getsockname() == sock.getpeername():
        # Nobody listens, and the port that this end was given happened to be the one it wanted to reach.
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    tcp.tune(sock)
    # What was not sent when it is closed is nobody's: else the end of the stream would wait behind it, and where the
    # server is stuck and takes nothing, nobody there would hear of the end.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return sock
