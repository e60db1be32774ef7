"""Envs of which few take long, without waiting for those: by ``recv``.

Knows gym-service as a user does. Python 3.10 and up.

A call is as many env steps as there are envs, whichever of them make these.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.contenders import opened_vector
from benchmarks.interleaved import Block, Clocked
from benchmarks.simulators import Simulator
from benchmarks.stepping import SEED, batches_of


@contextmanager
def received(simulator: Simulator, num_envs: int, workers: int, min_envs: int) -> Iterator[Clocked]:
    """Through gym-service: ``recv(min_envs)``, and ``send`` to those that it gave."""
    envs = opened_vector(simulator, num_envs, workers=workers)
    try:
        envs.reset(seed=SEED)
        actions = batches_of(envs.single_action_space, num_envs)
        envs.send(next(actions))

        def receive() -> int:
            env_ids = envs.recv(min_envs)[-1]
            envs.send(next(actions)[: len(env_ids)], env_ids)
            return len(env_ids)

        yield Clocked(until_stepped(receive, num_envs))
    finally:
        envs.close()


def until_stepped(receive: Callable[[], int], num_envs: int) -> Block:
    """The block of a contender whose ``receive`` gives the number of env steps that came; what is over counts later."""
    over = 0

    def block(calls: int) -> float:
        nonlocal over
        begun = time.perf_counter()
        stepped = over
        while stepped < calls * num_envs:
            stepped += receive()
        over = stepped - calls * num_envs
        return time.perf_counter() - begun

    return block
