"""What no road to another process can go below: a round trip of a few bytes, and one copy of what is observed.

Knows sockets and numpy. As a program it is the other end of the round trip. Python 3.10 and up.
"""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.children import python_of, started
from benchmarks.interleaved import Step

PING_BYTES = 64
# Then it sleeps: a process that polls for ever would take a core from the other contenders. Some 50 microseconds.
POLLS = 100

Receive = Callable[[socket.socket], bytes]


@contextmanager
def ping_pong(polling: bool) -> Iterator[Step]:
    """64 bytes there and back over a socketpair: both sides asleep while they wait, or both polling."""
    ours, theirs = socket.socketpair()
    argv = python_of("benchmarks.floors", str(theirs.fileno()), str(int(polling)))
    with started(argv, pass_fds=[theirs.fileno()]), ours:
        theirs.close()
        message = b"x" * PING_BYTES
        receive = polled if polling else slept

        def ping() -> bytes:
            ours.sendall(message)
            return receive(ours)

        yield ping


@contextmanager
def memcpy(size_bytes: int) -> Iterator[Step]:
    """One warm copy of so many bytes, in this process."""
    source = np.ones(size_bytes, np.uint8)
    target = np.empty_like(source)
    yield lambda: np.copyto(target, source)


def slept(sock: socket.socket) -> bytes:
    return sock.recv(PING_BYTES)


def polled(sock: socket.socket) -> bytes:
    for _ in range(POLLS):
        try:
            return sock.recv(PING_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
    return sock.recv(PING_BYTES)


def pong(sock: socket.socket, receive: Receive) -> None:
    while message := receive(sock):
        sock.sendall(message)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        pong(sock, polled if int(sys.argv[2]) else slept)
