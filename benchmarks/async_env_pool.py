"""TorchRL's AsyncEnvPool: a process for each env, shared memory, and results of those that are ready first.

It needs torch, so it is no dependency: its blocks are taken in an interpreter that has it. As a program it is what runs
there. Never imports gym_service. Python 3.10 and up.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.children import python_of
from benchmarks.elsewhere import on_order, python_with, serve
from benchmarks.interleaved import Clocked, until_stepped
from benchmarks.simulators import Simulator

VARIABLE = "GYM_BENCH_TORCHRL"


@contextmanager
def received(simulator: Simulator, num_envs: int, min_envs: int) -> Iterator[Clocked]:
    """An AsyncEnvPool with so many envs, whose results are taken as soon as there are ``min_envs``."""
    python = python_with("torchrl", VARIABLE)
    words = (simulator.to_json(), str(num_envs), str(min_envs))
    with on_order(python_of("benchmarks.async_env_pool", *words, python=python)) as clocked:
        yield clocked


def make(simulator: Simulator) -> Any:
    """One env, as TorchRL wraps it."""
    import torch
    from torchrl.envs import GymWrapper

    torch.set_num_threads(1)
    # An action is its number, as Gymnasium has it.
    return GymWrapper(simulator.make(), categorical_action_encoding=True)


def main() -> None:
    import torch
    from torchrl.envs import AsyncEnvPool

    from benchmarks.stepping import batches_of

    simulator, num_envs, min_envs = Simulator.from_json(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    makers = [partial(make, simulator)] * num_envs
    envs: Any = AsyncEnvPool(makers, backend="multiprocessing", exchange="shm")
    try:
        actions = map(torch.from_numpy, batches_of(simulator.make().action_space, num_envs))

        def send(observed: Any) -> None:
            observed["action"] = next(actions)[: len(observed)]
            envs.async_step_and_maybe_reset_send(observed)

        def receive() -> int:
            _, observed = envs.async_step_and_maybe_reset_recv(min_get=min_envs)
            send(observed)
            return len(observed)

        send(envs.reset())
        serve(until_stepped(receive, num_envs))
        envs.async_step_and_maybe_reset_recv(min_get=1)
    finally:
        envs.close()


if __name__ == "__main__":
    main()
