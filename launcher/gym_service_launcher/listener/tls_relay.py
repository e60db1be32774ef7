"""Carries bytes to and fro between a client behind TLS and its server: the state of TLS cannot move to another process.

Knows two sockets. Never knows what the bytes mean. Python 3.10 and up.

One thread and one poll for each client, which holds at most two pieces: a side is read only once what came from it has
been taken by the other. So who does not read is not read from, as over a socket that two processes share. The end of
one direction is passed on and leaves the other alone; an error ends both, and so does a client that hangs up without
the word of TLS for it. Once the server has ended, what it said last must be taken, none of it later than LINGER_S after
the piece before.
"""

import contextlib
import select
import socket
import ssl
import threading

from gym_service_launcher.net.tls import awaited

# Some records of TLS, which hold 16 KiB each.
PIECE_BYTES = 262_144
LINGER_S = 1.0
FAILED = select.POLLERR | select.POLLNVAL


class Relay:
    """Runs from here on, and ends by itself once both sides have."""

    def __init__(self, secured: ssl.SSLSocket, plain: socket.socket) -> None:
        """Own both sockets: the client's, and one that leads to its server."""
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
        """End it now. Blocks until its thread has, which takes a moment; any number of times."""
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
            pass  # one of them is gone, and the other must not wait for it
        with self._closing:
            self._open = False
            for sock in (self._secured, self._plain):
                _shut_down(sock, socket.SHUT_RDWR)
                sock.close()

    def _carry(self) -> None:
        """Move what can be moved, then wait until more can."""
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
        # It is told of once: a socket whose end is known would be ready for ever.
        self._server_ended = self._server_ended or bool(ready.get(self._plain.fileno(), 0) & select.POLLHUP)


class _Direction:
    """From one socket to the other: one piece, which must be gone before the next is read."""

    def __init__(self, source: socket.socket, drain: socket.socket) -> None:
        self._source, self._drain = source, drain
        self._memory = memoryview(bytearray(PIECE_BYTES))
        self._rest = self._memory[:0]
        self.ended = False  # nothing more comes
        self.done = False  # and its end was passed on

    def move(self, wanted: dict[socket.socket, int]) -> bool:
        """Move a piece, as far as it goes; False where that was not at all: then ``wanted`` says what for."""
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
        """Read as much as is there: what TLS has decrypted already, no poll would tell of."""
        filled = 0
        while filled < PIECE_BYTES and not self.ended:
            try:
                size = self._source.recv_into(self._memory[filled:])
            except OSError as error:
                _note(wanted, self._source, awaited(error, select.POLLIN), error)
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
            _note(wanted, self._drain, awaited(error, select.POLLOUT), error)
        return len(self._rest) < before


def _note(wanted: dict[socket.socket, int], sock: socket.socket, events: int, error: OSError) -> None:
    if not events:
        raise error
    wanted[sock] |= events


def _finish(drain: socket.socket) -> None:
    """Pass the end of the other side on. TLS says so in a word of its own, which comes before that of TCP."""
    if isinstance(drain, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):  # it waits for the same word from the other side
            drain.unwrap()
    _shut_down(drain, socket.SHUT_WR)


def _shut_down(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        # Not the method of SSLSocket: that one would go on as a socket without TLS.
        socket.socket.shutdown(sock, how)
