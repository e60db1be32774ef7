"""Stable-Baselines3's SubprocVecEnv: a process for each env, pickles over pipes.

It needs torch, so it is no dependency: its blocks are taken in an interpreter that has it. As a program it is what runs
there. Never imports gym_service. Python 3.10 and up.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.children import python_of
from benchmarks.elsewhere import on_order, python_with, serve
from benchmarks.interleaved import Clocked, repeated
from benchmarks.simulators import Simulator

VARIABLE = "GYM_BENCH_SB3"


@contextmanager
def subproc(simulator: Simulator, num_envs: int = 1) -> Iterator[Clocked]:
    """SubprocVecEnv with so many envs. It resets an env within the step that ends its episode."""
    python = python_with("stable_baselines3", VARIABLE)
    with on_order(python_of("benchmarks.sb3", simulator.to_json(), str(num_envs), python=python)) as clocked:
        yield clocked


def main() -> None:
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from benchmarks.stepping import SEED, batches_of

    simulator, num_envs = Simulator.from_json(sys.argv[1]), int(sys.argv[2])
    # Forked, so that no worker imports torch; how it is started changes nothing of a step.
    envs: Any = SubprocVecEnv([simulator.make] * num_envs, start_method="fork")
    try:
        envs.seed(SEED)
        envs.reset()
        actions = batches_of(envs.action_space, num_envs)
        serve(repeated(lambda: envs.step(next(actions))))
    finally:
        envs.close()


if __name__ == "__main__":
    main()
