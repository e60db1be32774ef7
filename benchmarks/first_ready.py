"""Envs of which few take long, without waiting for those: by ``recv``.

Knows gym-service as a user does. Python 3.10 and up.

A call is as many env steps as there are envs, whichever of them make these.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders import opened_vector
from benchmarks.interleaved import Clocked, until_stepped
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
