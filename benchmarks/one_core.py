"""Where the time of a CartPole step goes when client and server share a core, and when they do not.

    python -m benchmarks.one_core [--steps 20000]

For our connection, and for a bare one of two loops over a socketpair, both sleeping: how long a step takes, how much
of it either process has run, and how often the kernel switched between them. On a core each, the two sides' running
adds up to more than the step, since who waits for a light step spins. On one, what either side takes more of than on
its own core is what a switch costs: caches and translations of addresses that the other has thrown out.

Knows sockets, and what Linux says of a process in /proc/PID/schedstat. As a program with other arguments it is the bare
loop's server. Python 3.10 and up, Linux.
"""

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import contenders
from benchmarks.children import python_of, started
from benchmarks.simulators import CARTPOLE
from benchmarks.stepping import stepping

ACTION, ANSWER_BYTES = b"\1", 64


@contextmanager
def ours() -> Iterator[tuple[Callable[[], object], int]]:
    """(one step, the server's pid)."""
    with contenders.opened(CARTPOLE) as env:
        yield stepping(env), env.target["pid"]


@contextmanager
def bare() -> Iterator[tuple[Callable[[], object], int]]:
    """The same env behind nothing but a recv and a send on each side."""
    near, far = socket.socketpair()
    with (
        near,
        started(python_of("benchmarks.one_core", "--serve", str(far.fileno())), pass_fds=[far.fileno()]) as child,
    ):
        far.close()

        def step() -> bytes:
            near.sendall(ACTION)
            return near.recv(ANSWER_BYTES)

        yield step, child.process.pid
        near.shutdown(socket.SHUT_RDWR)


def serve(fd: int) -> None:
    with socket.socket(fileno=fd) as sock, CARTPOLE.make() as env:
        env.reset(seed=0)
        while action := sock.recv(1):
            observation, _, terminated, truncated, _ = env.step(action[0] & 1)
            if terminated or truncated:
                observation, _ = env.reset()
            sock.sendall(observation.tobytes())


def measured(step: Callable[[], object], pid: int, steps: int) -> list[float]:
    """Per step: µs that it took, that the client ran, that the server ran; and switches to the server."""
    for _ in range(steps // 4):  # until both have found out how to wait
        step()
    before, begun = (_ran(os.getpid()), _ran(pid)), time.perf_counter()
    for _ in range(steps):
        step()
    took_s, after = time.perf_counter() - begun, (_ran(os.getpid()), _ran(pid))
    ran_us = [(now[0] - then[0]) / 1e3 / steps for then, now in zip(before, after, strict=True)]
    return [took_s * 1e6 / steps, *ran_us, (after[1][1] - before[1][1]) / steps]


def _ran(pid: int) -> tuple[int, int]:
    """(ns on a processor, how often it was given one)."""
    ran_ns, _, slices = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran_ns), int(slices)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Where the time of a CartPole step goes on one core and on two.")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.serve is not None:
        serve(chosen.serve)
        return 0
    cores = sorted(os.sched_getaffinity(0))
    print(f"{'µs per step':26}{'step':>8}{'client':>8}{'server':>8}{'switches':>10}")
    for where, bound in (("a core each", set(cores)), ("one core", {cores[0]})):
        os.sched_setaffinity(0, bound)
        for name, connection in (("bare", bare), ("gym-service, unix", ours)):
            with connection() as (step, pid):
                os.sched_setaffinity(pid, bound)  # it is the guardian's child, and not ours to inherit from
                took, client, server, switches = measured(step, pid, chosen.steps)
            print(f"{f'{name}, {where}':26}{took:8.1f}{client:8.1f}{server:8.1f}{switches:10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
