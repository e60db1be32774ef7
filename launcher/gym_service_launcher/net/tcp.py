"""TCP for both ends: addresses, listening sockets, socket options.

Knows hosts and ports. Never knows who connects or why. Python 3.10 and up.
"""

import errno
import ipaddress
import os
import socket
from urllib.parse import urlsplit

from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.standalone import interrupts

BACKLOG = 128
# A lost host must be noticed within 35 s. While this side sends, TCP_USER_TIMEOUT (ms) notices it; that also ends a
# connection whose other side reads nothing for so long. While this side waits, the keepalive probes do: the last one is
# due 12 + 5 x 4 = 32 s after the last byte. Options that a system lacks are left out. macOS names TCP_KEEPIDLE
# TCP_KEEPALIVE.
OPTIONS = {
    "TCP_NODELAY": 1,
    "TCP_KEEPIDLE": 12,
    "TCP_KEEPALIVE": 12,
    "TCP_KEEPINTVL": 4,
    "TCP_KEEPCNT": 5,
    "TCP_USER_TIMEOUT": 30_000,
}
# A host name can have an address that the machine lacks: ::1 where IPv6 is off.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def address(host: str, port: int) -> str:
    """``tcp://host:port``, an IPv6 address in brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def host_and_port(address: str) -> tuple[str, int]:
    """The host and the port of ``tcp://host:port`` or ``host:port``.

    Raises:
        ValueError: there is no host, or no port from 0 to 65535.
    """
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if not parts.hostname or parts.port is None or parts.path or parts.username is not None:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return parts.hostname, parts.port


def tune(sock: socket.socket) -> None:
    """Set the options: small messages leave at once, and a lost host is noticed. A passed socket keeps them."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in OPTIONS.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def is_loopback(sock: socket.socket) -> bool:
    """Whether the other end has a loopback address. There may still be a tunnel behind it."""
    return ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback


def shown_host(sock: socket.socket) -> str:
    """The host name to connect to if a socket listens at all addresses of this machine; else an empty string."""
    return socket.gethostname() if ipaddress.ip_address(sock.getsockname()[0]).is_unspecified else ""


def bind(host: str, port: int, *, public: bool = False) -> list[socket.socket]:
    """Listening sockets, one for each address of ``host``: programs differ on whether "localhost" is ::1 or 127.0.0.1.

    Args:
        host: a name or an address of this machine.
        port: 0 for a free port, which is the same for all of them.
        public: whether other machines may be able to reach the address.

    Raises:
        ConfigError: there is no such host, or other machines can reach it and ``public`` is False.
        ServerStartError: the port is in use or not permitted.
    """
    bound: list[socket.socket] = []
    try:
        for family, ip in _addresses(host, public=public):
            sock = _bind_one(family, ip, bound[0].getsockname()[1] if bound else port)
            bound += [sock] if sock else []
        if not bound:
            raise _cannot_listen(host, "this machine has no such address")
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return bound


def _addresses(host: str, *, public: bool) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        interrupts.raise_if_from_handler(error)
        raise ConfigError(f"there is no host {host!r}: {error}", file=None, key="host") from error
    addresses = [(family, str(sockaddr[0])) for family, _, _, _, sockaddr in found]
    for _, ip in addresses:
        if not (public or ipaddress.ip_address(ip).is_loopback):
            raise ConfigError(
                f"{host} ({ip}) can be reached from other machines, and the connection would not be encrypted\n"
                "  try: gym-service run with --tls-cert and --tls-key; or 127.0.0.1, and from the other machine "
                "ssh -L 2333:127.0.0.1:2333; or --insecure, in a network where you trust every machine",
                file=None,
                key="host",
            )
    return list(dict.fromkeys(addresses))


def _bind_one(family: socket.AddressFamily, ip: str, port: int) -> socket.socket | None:
    try:
        return socket.create_server((ip, port), family=family, backlog=BACKLOG)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        if error.errno in _NOT_HERE:
            return None
        reason = "the address is already in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise _cannot_listen(address(ip, port), reason) from error


def _cannot_listen(where: str, reason: str) -> ServerStartError:
    text = f"cannot listen at {where}: {reason}\n  try: another port, or 0 for a free one"
    return ServerStartError(text, argv=(), interpreter="", exit_code=None, tail="")
