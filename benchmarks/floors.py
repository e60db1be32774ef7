"""What no way to another process can go below: a round trip of a few bytes, and one copy of what is observed.

    python -m benchmarks.floors      the round trips, on one core and on two

Knows sockets and numpy. As a program with arguments it is the other end of the round trip. Python 3.10 and up.
"""

import os
import socket
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.children import python_of, started
from benchmarks.interleaved import Step, repeated, time_in_turn

PING_BYTES = 64
# Then it sleeps: a process that looks for ever would take a core from the other contenders. Some 100 microseconds.
LOOKS = 200


@contextmanager
def ping_pong(waiting: str, core: int | None = None) -> Iterator[Step]:
    """64 bytes there and back over a socketpair.

    Args:
        waiting: how both sides wait: "sleeping", "looking", or "yielding", which offers the core between looks.
        core: what the other side is bound to; None for wherever the kernel puts it.
    """
    ours, theirs = socket.socketpair()
    argv = python_of("benchmarks.floors", str(theirs.fileno()), waiting, "" if core is None else str(core))
    with started(argv, pass_fds=[theirs.fileno()]), ours:
        theirs.close()
        message = b"x" * PING_BYTES
        receive = WAITING[waiting]

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


def sleeping(sock: socket.socket) -> bytes:
    return sock.recv(PING_BYTES)


def looking(sock: socket.socket) -> bytes:
    return _looked(sock, lambda: None)


def yielding(sock: socket.socket) -> bytes:
    return _looked(sock, os.sched_yield)


def _looked(sock: socket.socket, between: Callable[[], None]) -> bytes:
    for _ in range(LOOKS):
        try:
            return sock.recv(PING_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            between()
    return sock.recv(PING_BYTES)


WAITING: dict[str, Callable[[socket.socket], bytes]] = {
    "sleeping": sleeping,
    "looking": looking,
    "yielding": yielding,
}


def pong(fd: int, waiting: str, core: str) -> None:
    """The other end, until ours is closed."""
    if core:
        os.sched_setaffinity(0, {int(core)})
    receive = WAITING[waiting]
    with socket.socket(fileno=fd) as sock:
        while message := receive(sock):
            sock.sendall(message)


def show() -> None:
    """The round trips, each way of waiting, this process bound to the first core."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    print("µs for 64 bytes there and back: median, and fastest, of 30 blocks")
    for core, where in ((cores[0], "on one core"), (cores[-1], "on two cores")):
        for waiting in WAITING:
            with ping_pong(waiting, core) as ping:
                timing = time_in_turn({"": repeated(ping)}, blocks=30, block_s=0.02)[""]
            print(f"{where:13} {waiting:9} {statistics.median(timing.blocks_us):8.1f} {min(timing.blocks_us):8.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        pong(int(sys.argv[1]), *sys.argv[2:])
    else:
        show()
