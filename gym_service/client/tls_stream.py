"""A channel's stream behind TLS, at the client: its server's end of TLS is held by ``gym-service run``.

Knows ssl, deadlines and the end of a stream, as the streams of ``streams.py`` do. Never knows what the bytes mean, nor
whose certificate it was: that was looked at before. Client only; Python 3.10 and up.
"""

import select
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from gym_service.transport.streams import LONGEST_WAIT_S, ChannelClosed, ChannelTimeout, Stream

# Whatever memoryview takes, of single bytes: bytes, a view, an array.
Buffer = Any
# What one record of TLS holds. Small pieces are joined up to this: each record costs a header, a tag and a call.
RECORD_BYTES = 16384


class TlsStream(Stream):
    """A connected SSLSocket, which it owns from here on. It never blocks by itself: waiting is done here."""

    def __init__(self, sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        sock.setblocking(False)
        self._socket = sock

    def read_into(self, buffer: memoryview, deadline: float | None) -> int:
        """Read at least a byte; 0 at the end of the stream. Raises ChannelClosed or ChannelTimeout."""
        while True:
            try:
                return self._socket.recv_into(buffer)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self._wait(error, deadline)
            except (OSError, ValueError) as error:
                raise ChannelClosed(f"reading failed: {error}", False) from error

    def write(self, pieces: Sequence[Buffer], deadline: float | None) -> int:
        """Write some of what the pieces hold, and return how many bytes. Raises ChannelClosed or ChannelTimeout."""
        data = _first_of(pieces)
        while True:
            try:
                # The same bytes again after a wait: TLS has encrypted them already.
                return self._socket.send(data)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self._wait(error, deadline)
            except (OSError, ValueError) as error:
                raise ChannelClosed(f"writing failed: {error}", False) from error

    def end_sending(self) -> None:
        """Let the peer see the end of what is sent. TLS has no half of its own to close: the socket's is."""
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        except OSError:
            pass  # it is closed already

    def close(self) -> None:
        """End both directions. Wakes a thread that waits here; any number of times."""
        try:
            # Not the method of SSLSocket, which would leave a socket without TLS behind.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first, or it is closed already
        self._socket.close()

    def close_copy(self) -> None:
        """Close this process's copy and no other: for a forked child, whose parent goes on with it."""
        self._socket.close()

    def _wait(self, error: ssl.SSLError, deadline: float | None) -> None:
        fd = self._socket.fileno()
        if fd == -1:
            raise ChannelClosed("it was closed here", False)
        wait_ms = None
        if deadline is not None:
            wait_ms = min(deadline - time.monotonic(), LONGEST_WAIT_S) * 1000
        poll = select.poll()
        poll.register(fd, select.POLLOUT if isinstance(error, ssl.SSLWantWriteError) else select.POLLIN)
        if wait_ms is not None and (wait_ms <= 0 or not poll.poll(wait_ms)):
            raise ChannelTimeout("the deadline passed while waiting")
        if wait_ms is None:
            poll.poll()


def _first_of(pieces: Sequence[Buffer]) -> memoryview | bytes:
    """The first piece if it is large; small ones joined, as far as they fit into one record."""
    views = [memoryview(piece) for piece in pieces]
    if len(views) == 1 or len(views[0]) >= RECORD_BYTES:
        return views[0]
    joined = bytearray()
    for view in views:
        joined += view[: RECORD_BYTES - len(joined)]
        if len(joined) == RECORD_BYTES:
            break
    return bytes(joined)
