"""AttachedServer: a connection to a server at an address, which somebody else has started.

Knows addresses, TLS, the handshake, and for how long to retry. Never knows what travels over the connection, nor
anything of the server's process: the host that started it sees to that. Python 3.10 and up.
"""

import errno
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

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
from gym_service_launcher.net.same_host import SameHost, same_host_over
from gym_service_launcher.net.tokens import Token
from gym_service_launcher.processes.forked_copies import close_in_child, refuse_child
from gym_service_launcher.servers.link import ServerLink
from gym_service_launcher.servers.stream import (
    LONGEST_WAIT_S,
    Opening,
    SocketEnd,
    StreamEnd,
    TlsEnd,
)
from gym_service_launcher.standalone import interrupts
from gym_service_launcher.standalone.env_vars import TOKEN

# Where the output of such a server is.
PRINTS = "gym-service run, or SocketGymServer,"

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for no time
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5


class AttachedServer(ServerLink):
    """A connection to a server that somebody else has started."""

    def __init__(
        self,
        address: str,
        end: SocketEnd | TlsEnd,
        same_host: SameHost,
        *,
        started_at: float,
    ) -> None:
        """Own both from here on. ``same_host`` has sent its preamble: the server sends it back as the mark."""
        self.started_at = started_at
        self._address = address
        self._end = end
        self._opening = Opening(same_host.preamble)
        self._same_host = same_host
        self._calls = memoryview(bytearray(8)).cast("Q")  # ps runs on the server's host, and has its own count

    @property
    def place(self) -> str:
        return self._address

    def wait_until_up(self, deadline: float) -> bool:
        try:
            return self._opening.wait(self._end, deadline)
        except EOFError as error:
            self._end.close()
            raise self.start_error() from error

    def take_stream(self) -> StreamEnd:
        return self._end

    def accept_memory(self) -> socket.socket | None:
        return self._same_host.accept()

    def start_error(
        self, reason: str = "", advice: str = "", *, probe: bool = True, tail: str | None = None
    ) -> ServerStartError:
        text = f"the server at {self._address} made no env: {reason or 'its connection ended'}"
        text += f"\n  try: {advice or f'read what {PRINTS} printed there'}"
        return ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")

    def import_advice(self, *, is_missing: bool) -> str:
        return "install it where that server runs"

    def import_command(self) -> str:
        return ""

    def died(self, during: str) -> ConnectionLost:
        """Does not block."""
        text = f"the server at {self._address} is gone: its connection ended during {during}"
        text += f"\n  try: read what {PRINTS} printed there; then make the env again"
        return ConnectionLost(text, during=during, address=self._address)

    def diagnose(self, end_sending: Callable[[], None] = lambda: None) -> tuple[str, str]:
        """Always unknown: the process is on another host, or belongs to another process here."""
        return "unknown", ""

    def tail(self) -> str:
        """Always empty: the server's output is shown where it runs."""
        return ""

    @property
    def calls(self) -> memoryview:
        return self._calls

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        """Does not block: the end of the connection ends the server."""
        self._end.close()
        self._same_host.close()
        return iter(())


def attach(entry: Entry, progress: Callable[[str], None]) -> AttachedServer:
    """Connect to the server at the entry's address. Both ends authenticate each other.

    Blocks until a server listens there and takes one more client, ``entry.timeouts.start`` seconds at most.
    ``progress`` is called once, with what is waited for, if there is a wait.

    Raises:
        ServerStartError: no server listens there, it is at its client limit, or there is no such host.
        AuthError: this process has no token, the server has another token or another certificate, or it is no
            gym-service.
        ConfigError: the certificates of ``tls_ca`` cannot be read.
        OSError: a signal handler has forked meanwhile, and this is the child.
    """
    assert entry.address, "an entry has an address or an interpreter"
    begun, process_id = time.monotonic(), os.getpid()
    attempts = _RetryBackoff(entry.address, entry.timeouts.start, progress)
    while True:
        refuse_child(process_id)
        try:
            sock = _connect_and_authenticate(entry, attempts.remaining_s(), process_id)
            return _link(entry, sock, begun)
        except AuthError as error:
            if not (isinstance(error, HandshakeTimeout) and attempts.may_go_on(str(error).partition("\n")[0])):
                raise AuthError(f"{entry.address}: {error}") from error.__cause__
        except ServerFullError as error:
            attempts.failed(str(error), error, "--max-clients there, or fewer clients at once")
        except (socket.gaierror, UnicodeError) as error:
            interrupts.raise_if_from_handler(error)
            raise _not_reached(
                entry.address, f"there is no such host ({error})", "another spelling of its name"
            ) from error
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            refuse_child(process_id)
            attempts.failed(error.strerror or str(error), error, _how_to_start(entry.address))


class _RetryBackoff:
    """How long to wait before each further attempt, and when there is none any more."""

    def __init__(self, address: str, timeout_s: float, progress: Callable[[str], None]) -> None:
        self._address, self._timeout_s, self._progress = address, timeout_s, progress
        self._deadline = time.monotonic() + timeout_s
        self._pause_s = FIRST_PAUSE_S

    def remaining_s(self) -> float:
        return min(max(self._deadline - time.monotonic(), FIRST_PAUSE_S), LONGEST_WAIT_S)  # a socket takes no inf

    def failed(self, reason: str, error: Exception, advice: str) -> None:
        """Wait until the next attempt. Raises ServerStartError where there is no time for one."""
        if not self.may_go_on(reason):
            raise _not_reached(self._address, f"{reason}, for {self._timeout_s:g} s", advice) from error

    def may_go_on(self, reason: str) -> bool:
        """Wait until the next attempt, and return True. False, at once, where there is no time for one."""
        if time.monotonic() + self._pause_s >= self._deadline:
            return False
        if self._pause_s == FIRST_PAUSE_S:
            self._progress(f"no server at {self._address} yet ({reason}): trying for {self._timeout_s:g} s")
        # At random: clients that were refused together must not come back together.
        time.sleep(self._pause_s * random.uniform(0.5, 1.0))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return True


def _link(entry: Entry, sock: socket.socket, started_at: float) -> AttachedServer:
    """The link over a connection that is authenticated. Raises OSError where the server has gone."""
    assert entry.address
    # An entry with coded frames means a network, even if the address looks like this machine: a tunnel. TLS does too.
    is_remote = entry.frames != "raw" or _wants_tls(entry)
    try:
        same_host = same_host_over(sock, may_share=not is_remote)
    except BaseException:
        sock.close()
        raise
    end = TlsEnd(sock) if _wants_tls(entry) else SocketEnd(sock)
    return AttachedServer(entry.address, end, same_host, started_at=started_at)


def _connect_and_authenticate(entry: Entry, timeout_s: float, process_id: int) -> socket.socket:
    """A connection whose two ends have authenticated each other."""
    assert entry.address
    sock = _connect(entry.address, timeout_s)
    close_in_child(sock)
    try:
        refuse_child(process_id)
        # Not earlier: a server that has just begun to listen may have made the token file.
        token = UNIX_PEER_KEY if sock.family == socket.AF_UNIX else tokens.of_client(entry.token_file)
        limit_s = min(LIMIT_S, timeout_s)
        deadline = time.monotonic() + limit_s
        if _wants_tls(entry):
            sock = _secured(sock, entry, limit_s, process_id)
        _authenticate(sock, token, max(deadline - time.monotonic(), FIRST_PAUSE_S), _wants_tls(entry))
    except BaseException:
        sock.close()
        raise
    return sock


def _wants_tls(entry: Entry) -> bool:
    return bool(entry.tls_ca or entry.tls_sha256)


def _secured(sock: socket.socket, entry: Entry, limit_s: float, process_id: int) -> socket.socket:
    from gym_service_launcher.net import tls  # imports ssl

    def made(secured: socket.socket) -> None:
        close_in_child(secured)
        refuse_child(process_id)

    sock.settimeout(limit_s)
    host, _ = tcp.host_and_port(entry.address or "")
    try:
        return tls.connect(sock, host, entry.tls_ca, entry.tls_sha256, made)
    except TimeoutError as error:
        interrupts.raise_if_from_handler(error)
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
        # No server listens: the kernel gave this end the very port that it connects to, and TCP allows that.
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    tcp.tune(sock)
    # Drop what was not sent when it is closed. Otherwise the end of the stream would wait behind it, and a server host
    # whose server is stuck would never see that end.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return sock
