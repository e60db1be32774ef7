"""Finds out whether both ends of a connection are on one machine, and opens a second socket for shared memory if so.

Knows sockets, file descriptors and user ids. Never knows what is sent. Python 3.10 and up. The server's half is in
``gym_service/server/endpoints.py``.

Right after the handshake the client sends a preamble of PREAMBLE_BYTES. The server does what the preamble asks, and
sends it back. Over a Unix socket, one end of the second connection is passed along with the preamble. TCP cannot pass
descriptors, so the preamble names a socket in Linux's abstract namespace. If the server can connect to it, both ends
are on one machine and of one user. Through a tunnel, from a container with its own network, or as another user it
cannot, and arrays are sent inline.

The name is random and exists only until the env is made. Other processes of the machine can find it in /proc/net/unix
and connect first. A process of another user is rejected, and then nothing is shared. A process of this user could read
the memory of both sides anyway.

With TLS nothing is shared, but the preamble is still sent: a proxy may terminate TLS in front of our server, which then
does not know that the client uses it.
"""

import os
import secrets
import socket
import sys
from typing import Protocol

from gym_service_launcher.net import sigpipe, tcp, unix
from gym_service_launcher.standalone import fd_passing, interrupts

PREAMBLE_BYTES = 32
NAME = "gym-service-"  # then the preamble: the name of the abstract socket
# The value of a server's --negotiate-arena.
PREAMBLE_FORM = f"{PREAMBLE_BYTES}:{NAME}"
NO_SHARED_MEMORY = b"-" * PREAMBLE_BYTES


class SameHost(Protocol):
    """One way to find out. A constructor sends the preamble, and raises OSError where the server has gone."""

    preamble: bytes
    """What the client has sent; the server sends it back."""

    def accept(self) -> socket.socket | None:
        """The second connection, once the server has sent the preamble back; None where memory is not shared.

        Does not block. The caller owns the socket.
        """

    def close(self) -> None:
        """Offer no second connection any more. May be called any number of times."""


class Inline:
    """Offers nothing: all arrays travel inline."""

    preamble = NO_SHARED_MEMORY

    def __init__(self, sock: socket.socket) -> None:
        sigpipe.without(sock.sendall, self.preamble, fd_passing.flags_for(sock))

    def accept(self) -> None:
        return None

    def close(self) -> None:
        pass


class LoopbackRendezvous:
    """Over TCP: listens at a socket of the abstract namespace, whose name is the preamble, until ``accept``."""

    def __init__(self, sock: socket.socket) -> None:
        self.preamble = NO_SHARED_MEMORY
        self._listener: socket.socket | None = None
        if sys.platform.startswith("linux"):
            self._listen()
        try:
            sigpipe.without(sock.sendall, self.preamble, fd_passing.flags_for(sock))
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        name = secrets.token_hex(PREAMBLE_BYTES // 2)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(f"\0{NAME}{name}")
            listener.listen(1)
            listener.setblocking(False)
        except OSError as error:  # without such a socket arrays are sent inline
            listener.close()
            interrupts.raise_if_from_handler(error)
            return
        self.preamble, self._listener = name.encode("ascii"), listener

    def accept(self) -> socket.socket | None:
        if self._listener is None:
            return None
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            return None
        finally:
            self.close()
        if unix.peer(sock)[1] != os.geteuid():
            sock.close()
            return None
        return sock

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class PassedSocket:
    """Over a Unix socket: sends one end of a new pair of sockets along with the preamble."""

    preamble = NO_SHARED_MEMORY

    def __init__(self, sock: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        self._end: socket.socket | None = ours
        with theirs:
            try:
                fd_passing.send(sock, self.preamble, [theirs.fileno()])
            except BaseException:
                self.close()
                raise

    def accept(self) -> socket.socket | None:
        """None where no process has the other end any more.

        That is so where the server cannot map memory, and where something carries the bytes on from the Unix socket
        to another machine, as ``ssh -L`` does: descriptors do not travel.
        """
        if self._end is None:
            return None
        try:
            is_connected = bool(self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError as error:
            interrupts.raise_if_from_handler(error)
            is_connected = True
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            is_connected = False
        if not is_connected:
            self.close()
        end, self._end = self._end, None
        return end

    def close(self) -> None:
        if self._end is not None:
            self._end.close()
            self._end = None


def same_host_over(sock: socket.socket, *, may_share: bool) -> SameHost:
    """Send the preamble over a new connection. ``may_share``: False where the entry means another machine.

    Raises OSError where the server has gone.
    """
    if sock.family == socket.AF_UNIX:
        return PassedSocket(sock)
    return LoopbackRendezvous(sock) if may_share and tcp.is_loopback(sock) else Inline(sock)
