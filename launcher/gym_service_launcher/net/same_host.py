"""How the two ends of a connection find out that they are on one machine, and get a second one to share memory by.

Knows sockets, descriptors and user ids. Never knows what travels over either. Python 3.10 and up; the server's half is
in ``gym_service/server/endpoints.py``.

Right after the handshake the client sends a preamble of PREAMBLE_BYTES, and the server sends it back once it has done
what it can. Over a Unix socket one end of the second connection goes along with the preamble. Over TCP no descriptor
can, so the preamble names a socket in Linux's abstract namespace, for the server to connect to: where it does, both are
on one machine and of one user. A tunnel, a container's own network or another user leave it unanswered, and then arrays
travel inline. The name is random, told to nobody else, and gone when the env is made. Others on the machine can look it
up, in /proc/net/unix, and come before the server: of another user they are sent away, and nothing is shared; of this
user they could as well look into the memory of either side.

Behind TLS nothing is shared, but the preamble is sent all the same: TLS may end before it comes to our server, at
somebody else's proxy, and then that server cannot know.
"""

import array
import os
import secrets
import socket
import sys

from gym_service_launcher.net import unix

PREAMBLE_BYTES = 32
PREFIX = "\0gym-service-"
NO_SHARED_MEMORY = b"-" * PREAMBLE_BYTES


class LoopbackRendezvous:
    """What a client offers: it listens until ``accept`` is asked, or it is closed."""

    def __init__(self) -> None:
        """Listen, where this system has such names."""
        self.preamble = NO_SHARED_MEMORY
        self._listener: socket.socket | None = None
        if not sys.platform.startswith("linux"):
            return
        name = secrets.token_hex(PREAMBLE_BYTES // 2)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(PREFIX + name)
            listener.listen(1)
            listener.setblocking(False)
        except OSError:  # whatever forbids it, arrays can travel inline
            listener.close()
            return
        self.preamble, self._listener = name.encode("ascii"), listener

    def accept(self) -> socket.socket | None:
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


class PassedSocket:
    """What a client has sent along with the preamble over a Unix socket: the other end of a new pair of sockets."""

    preamble = NO_SHARED_MEMORY

    def __init__(self, sock: socket.socket) -> None:
        """Send it, and the preamble. Raises OSError where the server has gone."""
        self._end, theirs = socket.socketpair()
        with theirs:
            try:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
                sent = sock.sendmsg([self.preamble], [rights])
                sock.sendall(self.preamble[sent:])
            except BaseException:
                self._end.close()
                raise

    def accept(self) -> socket.socket | None:
        """This end, once the server has said the preamble; None where nobody has the other one.

        So it is where the server cannot map memory, and where bytes are carried on from the socket to another machine,
        as ``ssh -L`` does: descriptors stay behind.
        """
        try:
            is_lost = not self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self._end
        except OSError:
            is_lost = True
        if is_lost:
            self._end.close()
        return None if is_lost else self._end

    def close(self) -> None:
        """Share nothing; any number of times."""
        self._end.close()
