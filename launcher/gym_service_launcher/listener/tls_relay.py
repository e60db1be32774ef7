"""Relays bytes between a client that uses TLS and its server, because a TLS connection cannot move to another process.

Knows two sockets. Never knows what the bytes mean. Python 3.10 and up.

There is one thread and one poll for each client. It holds at most one piece for each direction: it reads a side again
once the other side has taken the piece. So a side that does not read is not read from, as if both shared one socket.
The end of one direction is passed on, and the other direction stays open. An error ends both, and so does a client that
closes its connection without TLS's close_notify. Once the server has ended, the client must take each remaining piece
within LINGER_S of the piece before.
"""

import contextlib
import select
import socket
import ssl
import threading

from gym_service_launcher.net.tls import events_to_retry

# Sixteen TLS records of 16 KiB.
PIECE_BYTES = 262_144
LINGER_S = 1.0
FAILED = select.POLLERR | select.POLLNVAL


class Relay:
    """A running relay. It ends by itself once both directions have ended."""

    def __init__(self, secured: ssl.SSLSocket, plain: socket.socket) -> None:
        """Take over both sockets, the client's and one to its server, and start."""
        self._secured, self._plain = secured, plain
        self._open = True
        self._server_ended = False
        self._closing = threading.Lock()
        for sock in (secured, plain):
            sock.setblocking(False)
        self._inward = _Direction(secured, plain)
        self._outward = _Direction(plain, secured)
        self._thread = threading.Thread(target=self._run, name="gym-service relay", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop now. Blocks until the thread has ended, which takes a moment. May be called again."""
        with self._closing:
            if self._open:
                for sock in (self._secured, self._plain):
                    _shut_down(sock, socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        try:
            while not (self._inward.done and self._outward.done):
                self._carry()
        except OSError:
            pass  # one side is gone, so the other must not wait for it
        with self._closing:
            self._open = False
            for sock in (self._secured, self._plain):
                _shut_down(sock, socket.SHUT_RDWR)
                sock.close()

    def _carry(self) -> None:
        """Move what can be moved; if nothing can, wait until something can."""
        wanted: dict[socket.socket, int] = {self._secured: 0, self._plain: 0}
        moved = False
        for direction in (self._inward, self._outward):
            moved = direction.move(wanted) or moved
        if moved:
            return
        poll = select.poll()
        for sock, events in wanted.items():
            if events or (sock is self._plain and not self._server_ended):
                poll.register(sock, events)
        ready = dict(poll.poll(LINGER_S * 1000 if self._server_ended else None))
        if not ready or any(events & FAILED for events in ready.values()):
            raise ConnectionError
        # Poll for it only once: a socket at its end is always ready.
        self._server_ended = self._server_ended or bool(ready.get(self._plain.fileno(), 0) & select.POLLHUP)


class _Direction:
    """One direction: a piece is read, and the next one only once this one has been written."""

    def __init__(self, source: socket.socket, drain: socket.socket) -> None:
        self._source, self._drain = source, drain
        self._memory = memoryview(bytearray(PIECE_BYTES))
        self._rest = self._memory[:0]
        self.ended = False  # the source has ended
        self.done = False  # and that was passed on

    def move(self, wanted: dict[socket.socket, int]) -> bool:
        """Move what is possible. False if nothing is: then ``wanted`` has the events to wait for."""
        if self.done:
            return False
        moved = False
        if not self._rest and not self.ended:
            moved = self._read(wanted)
        if self._rest:
            moved = self._write(wanted) or moved
        if self.ended and not self._rest:
            _finish(self._drain)
            self.done = moved = True
        return moved

    def _read(self, wanted: dict[socket.socket, int]) -> bool:
        """Read all that is available: poll does not report bytes that TLS has already decrypted."""
        filled = 0
        while filled < PIECE_BYTES and not self.ended:
            try:
                size = self._source.recv_into(self._memory[filled:])
            except OSError as error:
                _note(wanted, self._source, events_to_retry(error, select.POLLIN), error)
                break
            filled += size
            self.ended = size == 0
        self._rest = self._memory[:filled]
        return filled > 0 or self.ended

    def _write(self, wanted: dict[socket.socket, int]) -> bool:
        before = len(self._rest)
        try:
            while self._rest:
                self._rest = self._rest[self._drain.send(self._rest) :]
        except OSError as error:
            _note(wanted, self._drain, events_to_retry(error, select.POLLOUT), error)
        return len(self._rest) < before


def _note(wanted: dict[socket.socket, int], sock: socket.socket, events: int, error: OSError) -> None:
    if not events:
        raise error
    wanted[sock] |= events


def _finish(drain: socket.socket) -> None:
    """Pass on the end of the other side. TLS sends a close_notify before the end of TCP."""
    if isinstance(drain, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):  # it would wait for the close_notify of the other side
            drain.unwrap()
    _shut_down(drain, socket.SHUT_WR)


def _shut_down(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # the other side has shut it down
        # Not SSLSocket.shutdown, which turns TLS off and would continue without encryption.
        socket.socket.shutdown(sock, how)
