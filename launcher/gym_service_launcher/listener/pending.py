"""Endpoints, and connections to them that have not authenticated yet.

Knows listening sockets, TLS, the handshake and its deadline. Never knows what an authenticated client gets. Python 3.10
and up.

Nothing here blocks: a handshake advances as far as the bytes of the client allow.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gym_service_launcher.errors import AuthError
from gym_service_launcher.net import handshake, tcp, unix
from gym_service_launcher.net.handshake import UNIX_PEER_KEY, Handshake
from gym_service_launcher.net.tokens import Token

if TYPE_CHECKING:
    from gym_service_launcher.net.tls import Certificate


@dataclass(frozen=True)
class Endpoint:
    """A listening socket, and how its clients authenticate."""

    sock: socket.socket
    token: Token
    certificate: "Certificate | None" = None
    shown_host: str = ""  # the host that clients connect to, if the socket is bound to all addresses
    remove: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        """The address that clients connect to."""
        name = self.sock.getsockname()
        return tcp.address(self.shown_host, name[1]) if self.shown_host else name_of(name)

    def close(self) -> None:
        """Close the socket and remove its file. May be called again."""
        if self.sock.fileno() >= 0:
            self.remove()
            self.sock.close()


def tcp_endpoints(
    host: str, port: int, token: Token, certificate: "Certificate | None" = None, *, insecure: bool = False
) -> list[Endpoint]:
    """One endpoint for each address of a host.

    Raises:
        ConfigError: there is no such host; or other machines can reach it, there is no certificate, and ``insecure`` is
            False.
        ServerStartError: the port is in use or not permitted.
    """
    bound = tcp.bind(host, port, public=insecure or certificate is not None)
    return [Endpoint(sock, token, certificate, tcp.shown_host(sock)) for sock in bound]


def unix_endpoint(path: Path) -> Endpoint:
    """An endpoint for this user only: the kernel identifies the clients. Raises as ``unix.bind``."""
    sock = unix.bind(path)
    state = os.lstat(path)
    return Endpoint(sock, UNIX_PEER_KEY, remove=lambda: unix.remove(path, state))


class PendingClient:
    """A connection that has not authenticated yet."""

    def __init__(self, endpoint: Endpoint, sock: socket.socket, peer: object) -> None:
        """Take over the socket. Raises OSError if the client has disconnected."""
        self.name = _name_of_client(sock, peer)
        self.deadline = time.monotonic() + handshake.LIMIT_S
        self.handshake = Handshake("server", endpoint.token)
        self._certificate = endpoint.certificate
        self._started = False
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            tcp.tune(sock)
        self.sock = endpoint.certificate.wrap(sock) if endpoint.certificate else sock

    def advance(self) -> int:
        """Advance the handshake as far as possible. Returns the events to poll for; 0 once it is done.

        Raises:
            AuthError: the client failed to authenticate.
        """
        try:
            self._advance()
        except OSError as error:
            events = self._events_to_retry(error)
            if events:
                return events
            if self.is_secured and not self._started:
                raise AuthError(f"the TLS handshake failed: {_reason(error)}") from error
            raise self.handshake.disconnected() from error
        return 0

    @property
    def is_secured(self) -> bool:
        """Whether the connection uses TLS."""
        return self._certificate is not None

    def reject_busy(self) -> None:
        """Tell the client that it may retry, if possible, and close the socket."""
        with contextlib.suppress(OSError):
            # TCP discards what was sent last if a socket is closed while it has unread bytes.
            self.sock.recv(handshake.WHOLE_BYTES)
        with contextlib.suppress(OSError):
            self.sock.send(handshake.SERVER_BUSY)
        self.sock.close()

    def _advance(self) -> None:
        if not self._started:
            if self.sock.family == socket.AF_UNIX:
                unix.refuse_other_users(self.sock)
            if self._certificate:
                self.sock.do_handshake()  # type: ignore[attr-defined]
            self.sock.send(self.handshake.hello)  # a few bytes: they fit into the buffer of a new connection
            self._started = True
        while self.handshake.missing_bytes:
            answer = self.handshake.receive(self.sock.recv(self.handshake.missing_bytes))
            if answer:
                self.sock.send(answer)

    def _events_to_retry(self, error: OSError) -> int:
        if self._certificate:
            from gym_service_launcher.net.tls import events_to_retry

            return events_to_retry(error)
        return select.POLLIN if isinstance(error, BlockingIOError) else 0


def _reason(error: OSError) -> str:
    from ssl import SSLEOFError

    if isinstance(error, (SSLEOFError, ConnectionError)):
        return "it disconnected, as a client does that expects another certificate"
    return getattr(error, "reason", None) or str(error)


def name_of(sockaddr: object) -> str:
    """A socket's address as text: ``tcp://host:port`` or ``unix://path``."""
    if isinstance(sockaddr, tuple):
        return tcp.address(*sockaddr[:2])
    return f"unix://{sockaddr}"


def _name_of_client(sock: socket.socket, sockaddr: object) -> str:
    if sock.family != socket.AF_UNIX:
        return name_of(sockaddr)
    pid, _ = unix.peer(sock)
    return f"process {pid}" if pid else "a client on this machine"
