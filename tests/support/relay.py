"""A relay between a client and its server: it carries bytes, and ends either side's connection on request.

Knows sockets. Never knows what the bytes mean. Python 3.10 and up. It does not pass an end on to the other side, so a
test sees how each side notices its own.
"""

import contextlib
import os
import selectors
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from support.serving import connected

Side = Literal["client", "server"]
HOW = ("reset", "half-close")
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for no time
PIECE_BYTES = 65536


class Between:
    """Relays for one client. The client connects to ``address``."""

    def __init__(self, listening: socket.socket, address: str, server_address: str) -> None:
        self.address = address
        self._listening = listening
        self._server_address = server_address
        self._wake, self._woken = socket.socketpair()
        self._socks: dict[Side, socket.socket] = {}
        self._orders: list[tuple[Side, str, threading.Event]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self, side: Side, how: str) -> None:
        """Reset or half-close the connection of a side. A Unix socket, which cannot be reset, is closed.

        Returns when that has happened.
        """
        done = threading.Event()
        self._orders.append((side, how, done))
        self._wake.send(b"o")
        assert done.wait(60.0)

    def close(self) -> None:
        self._wake.close()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            stack.enter_context(self._woken)
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._listening:
                        self._accept(selector, stack)
                    elif key.fileobj is not self._woken:
                        self._carry(selector, key.data)
                    elif not self._obey(selector):
                        return

    def _accept(self, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> None:
        selector.unregister(self._listening)
        self._socks = {"client": self._listening.accept()[0], "server": connected(self._server_address)}
        for side, sock in self._socks.items():
            stack.callback(sock.close)
            sock.settimeout(60.0)
            selector.register(sock, selectors.EVENT_READ, side)

    def _carry(self, selector: selectors.BaseSelector, side: Side) -> None:
        source, drain = self._socks[side], self._socks["server" if side == "client" else "client"]
        data = b""
        with contextlib.suppress(ConnectionResetError):
            data = source.recv(PIECE_BYTES)
        if not data:
            selector.unregister(source)
            return
        with contextlib.suppress(OSError):  # it was ended on request
            drain.sendall(data)

    def _obey(self, selector: selectors.BaseSelector) -> bool:
        if not self._woken.recv(1):
            return False
        side, how, done = self._orders.pop(0)
        sock = self._socks[side]
        with contextlib.suppress(KeyError):  # its end was handled before
            selector.unregister(sock)
        if how == "reset":
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            sock.close()
        else:
            sock.shutdown(socket.SHUT_WR)
        done.set()
        return True


@contextmanager
def between(server_address: str) -> Iterator[Between]:
    """A relay to that address, with an address of the same kind."""
    with contextlib.ExitStack() as stack:
        if server_address.startswith("unix://"):
            path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="between-")), "socket")
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(path)
            listening.listen()
            address = f"unix://{path}"
        else:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        someone = Between(listening, address, server_address)
        stack.callback(someone.close)
        yield someone
