"""Many envs without any vector env: a bare loop in this process, and bare processes at the other end of pipes.

What a vector env cannot beat. As a program it is one of the processes. Python 3.10 and up.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from benchmarks import least
from benchmarks.children import python_of, started
from benchmarks.interleaved import Step
from benchmarks.simulators import Simulator
from benchmarks.stepping import SEED, batches_of

# The word of a process whose ends poll, what it says first, and how long its ends poll before they sleep (seconds).
POLLED, READY = "polled", b"r"
SPIN_S = 2e-3


class Loop:
    """Some envs, stepped one after another into one array. For spaces of numbers alone."""

    def __init__(self, simulator: Simulator, num_envs: int, first: int = 0) -> None:
        self._envs = [simulator.make() for _ in range(num_envs)]
        self._over = [False] * num_envs
        self.single_action_space = self._envs[0].action_space
        space = self._envs[0].observation_space
        self._batch = np.empty((num_envs, *space.shape), space.dtype)
        for index, env in enumerate(self._envs):
            env.reset(seed=SEED + first + index)

    def step(self, actions: np.ndarray) -> np.ndarray:
        for index, env in enumerate(self._envs):
            if self._over[index]:
                self._batch[index], _ = env.reset()
                self._over[index] = False
            else:
                self._batch[index], _, terminated, truncated, _ = env.step(actions[index])
                self._over[index] = terminated or truncated
        return self._batch


@contextmanager
def loop(simulator: Simulator, num_envs: int) -> Iterator[Step]:
    """All in this process."""
    envs = Loop(simulator, num_envs)
    actions = batches_of(envs.single_action_space, num_envs)
    yield lambda: envs.step(next(actions))


@contextmanager
def processes(simulator: Simulator, num_envs: int, workers: int) -> Iterator[Step]:
    """So many processes, each with the loop over its share at the other end of a pipe; ``workers`` must divide."""
    share = num_envs // workers
    env = simulator.make()
    batch = np.empty((num_envs, *env.observation_space.shape), env.observation_space.dtype)
    actions = batches_of(env.action_space, num_envs)
    parts = [slice(index * share, (index + 1) * share) for index in range(workers)]
    # Of bytes: multiprocessing takes the length of a view for its size.
    places = [memoryview(batch[part]).cast("B") for part in parts]
    with ExitStack() as stack:
        pipes = [stack.enter_context(_worker(simulator, share, index * share)) for index in range(workers)]
        for pipe in pipes:
            pipe.recv_bytes()

        def step() -> np.ndarray:
            action = next(actions)
            for pipe, part in zip(pipes, parts, strict=True):
                pipe.send_bytes(action[part])
            for pipe, place in zip(pipes, places, strict=True):
                pipe.recv_bytes_into(place)
            return batch

        yield step


@contextmanager
def polled_process(simulator: Simulator, num_envs: int) -> Iterator[Step]:
    """One process with the loop over all envs, at the other end of a socketpair. Both sides poll for a moment."""
    env = simulator.make()
    batch = np.empty((num_envs, *env.observation_space.shape), env.observation_space.dtype)
    actions = batches_of(env.action_space, num_envs)
    ours, theirs = socket.socketpair()
    argv = python_of("benchmarks.bare", str(theirs.fileno()), simulator.to_json(), str(num_envs), POLLED)
    with started(argv, pass_fds=[theirs.fileno()]), ours:
        theirs.close()
        assert ours.recv(1) == READY
        receive = least.receiver(ours, memoryview(batch).cast("B"), SPIN_S)

        def step() -> np.ndarray:
            ours.send(next(actions))
            receive()
            return batch.copy()

        yield step


@contextmanager
def _worker(simulator: Simulator, num_envs: int, first: int) -> Iterator[Connection]:
    ours, theirs = Pipe()
    argv = python_of("benchmarks.bare", str(theirs.fileno()), simulator.to_json(), str(num_envs), str(first))
    with started(argv, pass_fds=[theirs.fileno()]), ours:
        theirs.close()
        yield ours


def serve_polled(fd: int, envs: Loop, num_envs: int) -> None:
    """The other process of ``polled_process``."""
    actions = np.empty(num_envs, envs.single_action_space.dtype)
    with socket.socket(fileno=fd) as sock:
        sock.send(READY)
        receive = least.receiver(sock, memoryview(actions).cast("B"), SPIN_S)
        while receive():
            sock.send(envs.step(actions))


def main() -> None:
    fd, simulator, num_envs, first = sys.argv[1:]
    if first == POLLED:
        serve_polled(int(fd), Loop(Simulator.from_json(simulator), int(num_envs)), int(num_envs))
        return
    envs = Loop(Simulator.from_json(simulator), int(num_envs), int(first))
    with Connection(int(fd)) as pipe:
        pipe.send_bytes(b"ready")
        while True:
            try:
                actions = np.frombuffer(pipe.recv_bytes(), envs.single_action_space.dtype)
            except (EOFError, ConnectionResetError):
                return
            pipe.send_bytes(envs.step(actions))


if __name__ == "__main__":
    main()
