"""A channel's stream over TLS, at the client: ``gym-service run`` holds the server's end of TLS.

Knows ssl, deadlines and the end of a stream, as ``streams.py`` does. Never knows what the bytes mean, or whose
certificate it was: that was checked before. Client only; Python 3.10 and up.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gym_service.protocol.interrupts import is_foreign
from gym_service.transport import sigpipe
from gym_service.transport.streams import LONGEST_WAIT_S, ChannelClosed, ChannelTimeout, Stream

# Anything that memoryview accepts, of single bytes: bytes, a view, an array.
Buffer = Any
# The size of one TLS record. Small pieces are joined up to it: each record costs a header, a tag and a call.
RECORD_BYTES = 16384


class TlsStream(Stream):
    """A connected SSLSocket, which it owns from here on. The socket never blocks: this class does the waiting."""

    def __init__(self, sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        sock.setblocking(False)
        self._socket = sock

    def read_into(self, buffer: memoryview, sizes: list[int], deadline: float | None) -> None:
        """Read at least one byte, and append the number; 0 at the end. Raises ChannelClosed or ChannelTimeout."""
        while not self._attempt("reading", self._socket.recv_into, buffer, sizes, deadline):
            pass

    def try_read(self, buffer: memoryview, sizes: list[int]) -> None:
        """Read available bytes, if there are any. Raises ChannelClosed."""
        with suppress(ChannelTimeout):
            self._attempt("reading", self._socket.recv_into, buffer, sizes, 0.0)

    def register(self, poll: "select.poll") -> list[int]:
        """As ``Stream.register``: ``try_read`` has read everything that TLS has decrypted already."""
        fd = self._socket.fileno()
        if fd == -1:
            raise ChannelClosed("it was closed here", False)
        poll.register(fd, select.POLLIN)
        return [fd]

    def write(self, pieces: Sequence[Buffer], sizes: list[int], deadline: float | None) -> None:
        """Write some bytes of the pieces, and append their number. Raises ChannelClosed or ChannelTimeout."""
        data = _first_of(pieces)
        # The same bytes again after a wait, because TLS has encrypted them already.
        while not self._attempt("writing", self._socket.send, data, sizes, deadline):
            pass

    def _attempt(
        self, what: str, call: Callable[[Buffer], int], data: Buffer, sizes: list[int], deadline: float | None
    ) -> bool:
        """Whether the call was made; if it was not possible yet, wait until it is."""
        if self.in_doubt:
            raise ChannelClosed("an interrupt came while TLS was at work, and what it has moved is not known", False)
        waits_for: ssl.SSLError | None = None
        # The methods of an SSLSocket are Python code. An interrupt there can lose the number of moved bytes.
        self.in_doubt = True
        try:
            if sigpipe.is_fatal():  # a read may write too: TLS answers some messages of the peer by itself
                sigpipe.without(sizes.extend, map(call, (data,)))
            else:
                sizes += map(call, (data,))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            waits_for = error
        except (OSError, ValueError) as error:
            if is_foreign(error):
                raise
            raise ChannelClosed(f"{what} failed: {error}", False) from error
        self.in_doubt = False
        if waits_for is None:
            return True
        self._wait(waits_for, deadline)
        return False

    def end_sending(self) -> None:
        """Signal the end of the stream to the peer. TLS cannot close one direction, so this closes the socket's."""
        self._shut_down(socket.SHUT_WR)

    def close(self) -> None:
        """End both directions. Wakes a thread that waits here. May be called repeatedly."""
        self._shut_down(socket.SHUT_RDWR)
        self._socket.close()

    def close_copy(self) -> None:
        """Close only this process's copy: for a forked child, whose parent goes on using it."""
        self._socket.close()

    def _shut_down(self, how: int) -> None:
        try:
            # Not SSLSocket's own method, which would leave a socket without TLS.
            socket.socket.shutdown(self._socket, how)
        except OSError as error:
            if is_foreign(error):
                raise
            # Otherwise the peer was first, or it is closed already.

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
