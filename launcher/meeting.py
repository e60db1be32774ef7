"""How the two ends of a connection find out that they are on one machine, and get a second one to share memory by.

Knows sockets, descriptors and user ids. Never knows what travels over either. Python 3.10 and up; the server's half is
in ``gym_service/server/stdio.py``.

Right after the handshake the client sends a preface of PREFACE_BYTES, and the server sends it back once it has done
what it can. Over a Unix socket one end of the second connection goes along with the preface. Over TCP no descriptor
can, so the preface names a socket in Linux's abstract namespace, for the server to connect to: where it does, both are
on one machine and of one user. A tunnel, a container's own network or another user leave it unanswered, and then arrays
travel inline. The name is random, told to nobody else, and gone when the env is made.
"""

import array
import os
import secrets
import socket
import sys

from gym_service_launcher import unix

PREFACE_BYTES = 32
PREFIX = "\0gym-service-"
NOWHERE = b"-" * PREFACE_BYTES


class Meeting:
    """What a client offers: it listens until ``met`` is asked, or it is closed."""

    def __init__(self) -> None:
        """Listen, where this system has such names."""
        self.preface = NOWHERE
        self._listener: socket.socket | None = None
        if not sys.platform.startswith("linux"):
            return
        name = secrets.token_hex(PREFACE_BYTES // 2)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(PREFIX + name)
            listener.listen(1)
            listener.setblocking(False)
        except OSError:  # whatever forbids it, arrays can travel inline
            listener.close()
            return
        self.preface, self._listener = name.encode("ascii"), listener

    def met(self) -> socket.socket | None:
        """The connection that a server of this user has made; None where none has. Nobody can make one any more."""
        if self._listener is None:
            return None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return None
        finally:
            self.close()
        if unix.peer(sock)[1] != os.geteuid():
            sock.close()
            return None
        return sock

    def close(self) -> None:
        """Listen no more; any number of times."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def hand_over(sock: socket.socket) -> socket.socket:
    """One end of a new pair of Unix sockets; the other end goes to the server with the preface.

    Raises OSError where the server has gone.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
            sent = sock.sendmsg([NOWHERE], [rights])
            sock.sendall(NOWHERE[sent:])
        except BaseException:
            ours.close()
            raise
    return ours
