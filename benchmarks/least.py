"""An env in another process behind as little Python as a step can have: one struct each way, two fixed buffers, a lock.

It has no deadlines, no errors, no infos, no interrupts, no other types, and no second kind of call. So it shows what is
left to gain for a connection that has all of these. Knows sockets. As a program it is the server. Python 3.10 and up.
"""

import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.children import python_of, started
from benchmarks.interleaved import Step
from benchmarks.simulators import Simulator
from benchmarks.stepping import SEED, stepping

ACTION = struct.Struct("<q")
BESIDE = struct.Struct("<d??")  # reward, terminated, truncated
RESET = -1
# How long to poll before sleeping, as in ``adaptive_spin.py`` (seconds).
SPIN_S = 200e-6


@contextmanager
def least(simulator: Simulator) -> Iterator[Step]:
    """For one env with a Discrete action and one small array as the observation."""
    near, far = socket.socketpair()
    argv = python_of("benchmarks.least", str(far.fileno()), simulator.to_json())
    with near, simulator.make() as like, started(argv, pass_fds=[far.fileno()]):
        far.close()
        yield stepping(LeastEnv(near, like))


class LeastEnv(gym.Env[Any, Any]):
    """The client's side. ``like`` has its spaces."""

    def __init__(self, sock: socket.socket, like: gym.Env[Any, Any]) -> None:
        self.action_space, self.observation_space = like.action_space, like.observation_space
        shape, dtype = like.observation_space.shape, like.observation_space.dtype
        assert shape is not None
        self._answer = bytearray(BESIDE.size + int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self._observation = np.ndarray(shape, dtype, self._answer, BESIDE.size)
        self._send, self._lock, self._receive = sock.send, threading.Lock(), receiver(sock, self._answer)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        with self._lock:
            self._send(ACTION.pack(action))
            self._receive()
            reward, terminated, truncated = BESIDE.unpack_from(self._answer)
            return self._observation.copy(), reward, terminated, truncated, {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.step(RESET)[0], {}


def receiver(sock: socket.socket, buffer: bytearray | memoryview, spin_s: float = SPIN_S) -> Callable[[], int]:
    """A function that waits for a message, as gym-service does: it polls and yields for a moment, then sleeps."""
    ready, now, receive = select.poll(), time.perf_counter, sock.recv_into
    ready.register(sock, select.POLLIN)
    poll, yield_cpu = ready.poll, os.sched_yield

    def wait() -> int:
        until = now() + spin_s
        while not poll(0):
            yield_cpu()
            if now() > until:
                poll()
        return receive(buffer)

    return wait


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as sock, Simulator.from_json(sys.argv[2]).make() as env:
        observation, _ = env.reset(seed=SEED)
        call, answer = bytearray(ACTION.size), bytearray(BESIDE.size + observation.nbytes)
        place = np.ndarray(observation.shape, observation.dtype, answer, BESIDE.size)
        wait, send, is_new = receiver(sock, call), sock.send, True
        while wait():
            (action,) = ACTION.unpack(call)
            if action == RESET:
                place[:] = observation if is_new else env.reset()[0]
                is_new = False
                BESIDE.pack_into(answer, 0, 0.0, False, False)
            else:
                place[:], *beside, _ = env.step(action)
                BESIDE.pack_into(answer, 0, *beside)
            send(answer)


if __name__ == "__main__":
    main()
