"""The yardstick for the original project: an env over TCP, as one writes it in an hour.

A length, then a pickle, both ways, with Nagle's algorithm off. No deadline, no check, no end but that of the socket.
Knows sockets and pickle; as a program it is the server. Not for use: a sender of pickles can run code.
Python 3.10 and up.
"""

import pickle
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym

from benchmarks.children import python_of, started
from benchmarks.interleaved import Step
from benchmarks.simulators import Simulator
from benchmarks.stepping import stepping

LENGTH = struct.Struct("!Q")


class Bridged(gym.Env[Any, Any]):
    """The client's side."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.observation_space, self.action_space = receive(sock)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._ask("reset", {"seed": seed, "options": options})

    def step(self, action: Any) -> Any:
        return self._ask("step", {"action": action})

    def _ask(self, method: str, arguments: dict[str, Any]) -> Any:
        send(self._socket, (method, arguments))
        return receive(self._socket)


@contextmanager
def bridged(simulator: Simulator) -> Iterator[Step]:
    with (
        started(python_of("benchmarks.pickle_bridge", simulator.to_json())) as child,
        socket.create_connection(("127.0.0.1", int(child.line()))) as sock,
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield stepping(Bridged(sock))


def send(sock: socket.socket, value: Any) -> None:
    pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    sock.sendall(LENGTH.pack(len(pickled)) + pickled)


def receive(sock: socket.socket) -> Any:
    (size_bytes,) = LENGTH.unpack(_exactly(sock, LENGTH.size))
    return pickle.loads(_exactly(sock, size_bytes))


def _exactly(sock: socket.socket, size_bytes: int) -> bytearray:
    received = bytearray(size_bytes)
    left = memoryview(received)
    while left:
        size = sock.recv_into(left)
        if not size:
            raise EOFError
        left = left[size:]
    return received


def serve(env: gym.Env[Any, Any], sock: socket.socket) -> None:
    send(sock, (env.observation_space, env.action_space))
    while True:
        try:
            method, arguments = receive(sock)
        except EOFError:
            return
        send(sock, getattr(env, method)(**arguments))


def main() -> None:
    env = Simulator.from_json(sys.argv[1]).make()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        sock, _ = listener.accept()
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        serve(env, sock)


if __name__ == "__main__":
    main()
