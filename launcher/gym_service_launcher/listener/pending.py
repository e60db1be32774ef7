"""Connections that have not proven themselves yet, and the doors that they come to.

Knows listening sockets, TLS, the handshake and its deadline. Never knows what a proven client is given. Python 3.10 and
up.

Nothing blocks here: a stranger goes on as far as what it has sent allows.
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
    """A listening socket, and what is asked of those who come to it."""

    sock: socket.socket
    token: Token
    certificate: "Certificate | None" = None
    shown_host: str = ""  # what clients dial, where the address that was bound is every one
    remove: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        """What clients dial."""
        name = self.sock.getsockname()
        return tcp.address(self.shown_host, name[1]) if self.shown_host else name_of(name)

    def close(self) -> None:
        """Nobody can come to it any more, and nothing of it is left. Any number of times."""
        if self.sock.fileno() >= 0:
            self.remove()
            self.sock.close()


def tcp_endpoints(
    host: str, port: int, token: Token, certificate: "Certificate | None" = None, *, insecure: bool = False
) -> list[Endpoint]:
    """One for each address of a host. What other machines reach has a certificate, or is ``insecure`` on purpose.

    Raises:
        ConfigError: there is no such host, or it can be reached and nothing is encrypted.
        ServerStartError: the port is taken, or may not be had.
    """
    bound = tcp.bind(host, port, public=insecure or certificate is not None)
    return [Endpoint(sock, token, certificate, tcp.shown_host(sock)) for sock in bound]


def unix_endpoint(path: Path) -> Endpoint:
    """One for this user alone, whom the kernel knows. Raises as ``unix.bind``."""
    sock = unix.bind(path)
    state = os.lstat(path)
    return Endpoint(sock, UNIX_PEER_KEY, remove=lambda: unix.remove(path, state))


class PendingClient:
    """A connection that has not proven itself."""

    def __init__(self, endpoint: Endpoint, sock: socket.socket, peer: object) -> None:
        """Own the socket."""
        self.name = _name_of_client(sock, peer)
        self.deadline = time.monotonic() + handshake.LIMIT_S
        self.handshake = Handshake("server", endpoint.token)
        self._certificate = endpoint.certificate
        self._begun = False
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            tcp.tune(sock)
        self.sock = endpoint.certificate.wrap(sock) if endpoint.certificate else sock

    def advance(self) -> int:
        """Go on as far as it goes. Returns what to poll for; 0 once it has proven itself.

        Raises AuthError where it never will.
        """
        try:
            self._advance()
        except OSError as error:
            events = self._awaited(error)
            if events:
                return events
            if self.is_secured and not self._begun:
                raise AuthError(f"no handshake of TLS: {_reason(error)}") from error
            raise self.handshake.hung_up() from error
        return 0

    @property
    def is_secured(self) -> bool:
        """Whether it came behind TLS."""
        return self._certificate is not None

    def reject_busy(self) -> None:
        """Tell it that it may come again, if it can still be told, and close."""
        with contextlib.suppress(OSError):
            # What lies unread when a socket is closed has TCP throw away what was sent last.
            self.sock.recv(handshake.WHOLE_BYTES)
        with contextlib.suppress(OSError):
            self.sock.send(handshake.SERVER_BUSY)
        self.sock.close()

    def _advance(self) -> None:
        if not self._begun:
            if self.sock.family == socket.AF_UNIX:
                _refuse_others(self.sock)
            if self._certificate:
                self.sock.do_handshake()  # type: ignore[attr-defined]
            self.sock.send(self.handshake.hello)  # a few bytes, which a new connection has room for
            self._begun = True
        while self.handshake.missing_bytes:
            answer = self.handshake.receive(self.sock.recv(self.handshake.missing_bytes))
            if answer:
                self.sock.send(answer)

    def _awaited(self, error: OSError) -> int:
        if self._certificate:
            from gym_service_launcher.net.tls import awaited

            return awaited(error)
        return select.POLLIN if isinstance(error, BlockingIOError) else 0


def _reason(error: OSError) -> str:
    from ssl import SSLEOFError

    if isinstance(error, (SSLEOFError, ConnectionError)):
        return "it hung up, as a client does that wants another certificate"
    return getattr(error, "reason", None) or str(error)


def name_of(sockaddr: object) -> str:
    """How a socket's address is said: ``tcp://host:port``, or the path of a Unix socket."""
    if isinstance(sockaddr, tuple):
        return tcp.address(*sockaddr[:2])
    return f"unix://{sockaddr}"


def _name_of_client(sock: socket.socket, sockaddr: object) -> str:
    if sock.family != socket.AF_UNIX:
        return name_of(sockaddr)
    pid, _ = unix.peer(sock)
    return f"process {pid}" if pid else "a client on this machine"


def _refuse_others(sock: socket.socket) -> None:
    _, uid = unix.peer(sock)
    if uid != os.geteuid():
        raise AuthError(f"it is of user {uid}, and this server is of user {os.geteuid()}")
