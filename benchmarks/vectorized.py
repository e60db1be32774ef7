"""What a simulator costs that is a vector env itself, or gives tensors, through gym-service and without, in turn.

    python -m benchmarks.vectorized --envpool PYTHON [--torch PYTHON] [--blocks 30] [--profile]

Each PYTHON is an interpreter that has the package; ``tests/support/targets.py build envpool torch`` makes both. EnvPool
steps 32 and 512 CartPoles, in its own interpreter (a process that times itself) and here. A torch env gives a batch of
64 × 84 × 84 × 4 bytes, which is compared with the same batch of numpy's. ``--profile`` shows where the microseconds of
a step of 32 CartPoles go on both sides. Knows gym_service.make. Python 3.10 and up.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interleaved import Block, Timing, ratios, repeated, time_in_turn

ENVS = Path(__file__).absolute().parent / "envs"
COUNTS = (32, 512)
# How much an EnvPool of so many may cost through gym-service, and a batch of tensors against one of numpy's.
LIMITS = {"32 CartPoles": 2.0, "512 CartPoles": 1.3, "torch": 1.3}
PROFILED_S = 10.0
BLOCK_S = 0.05

IN_PROCESS = """
import sys, time
import envpool, numpy
env = envpool.make_gymnasium("CartPole-v1", num_envs=int(sys.argv[1]), seed=0)
env.reset()
actions = numpy.zeros(env.num_envs if hasattr(env, "num_envs") else int(sys.argv[1]), numpy.int32)
print("ready", flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    for _ in range(int(line)):
        actions = 1 - actions
        env.step(actions)
    print(time.perf_counter() - begun, flush=True)
"""


def main() -> None:
    """Print the medians and the ratios, and whether they keep their limits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectorized")
    parser.add_argument("--envpool", metavar="PYTHON", help="an interpreter with envpool")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter with torch and gymnasium")
    parser.add_argument("--blocks", type=int, default=30, help="of each contender (default 30)")
    parser.add_argument("--profile", action="store_true", help="show where the time of a step goes")
    chosen = parser.parse_args()
    if not (chosen.envpool or chosen.torch):
        parser.error("--envpool, --torch or both are needed: an interpreter that has it")
    if chosen.envpool:
        for count in COUNTS:
            compare_envpool(chosen.envpool, count, chosen.blocks)
        if chosen.profile:
            profile(chosen.envpool)
    if chosen.torch:
        compare_tensors(chosen.torch, chosen.blocks)


def compare_envpool(python: str, count: int, blocks: int) -> None:
    with in_process(python, count) as alone, pool(python, count) as env:
        found = time_in_turn({"here": stepping(env, count), "alone": alone}, blocks=blocks, block_s=BLOCK_S)
    show(f"{count} CartPoles", found["here"], found["alone"])


def compare_tensors(python: str, blocks: int) -> None:
    import gym_service

    where: dict[str, Any] = {"python": python, "pythonpath": [str(ENVS)], "entry_point": "gym_bench_tensors:Images"}
    with ExitStack() as stack:
        contenders = {}
        for name in ("torch", "numpy"):
            env = stack.enter_context(gym_service.make("images", **where, kwargs={"torch": name == "torch"}))
            env.reset()
            contenders[name] = repeated(lambda env=env: env.step(np.zeros(64, np.float32)))
        found = time_in_turn(contenders, blocks=blocks, block_s=BLOCK_S)
    show("torch", found["torch"], found["numpy"])


def show(name: str, ours: Timing, against: Timing) -> None:
    ratio = statistics.median(ratios(ours, against))
    verdict = "kept" if ratio <= LIMITS[name] else "NOT KEPT"
    medians = f"{ours.median_us:8.1f} µs against {against.median_us:8.1f} µs"
    print(f"{name:14} {medians}   {ratio:5.2f} × (limit {LIMITS[name]}: {verdict})", flush=True)


@contextmanager
def in_process(python: str, count: int) -> Iterator[Block]:
    """EnvPool in its own interpreter, which times its own blocks."""
    argv = [python, "-c", IN_PROCESS, str(count)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        while child.stdout.readline() not in ("ready\n", ""):
            pass

        def block(calls: int) -> float:
            print(calls, file=child.stdin, flush=True)
            return float(child.stdout.readline())

        yield block
        child.stdin.close()


@contextmanager
def pool(python: str, count: int) -> Iterator[Any]:
    """The same EnvPool through gym-service."""
    import gym_service

    kwargs = {"task_id": "CartPole-v1", "num_envs": count, "seed": 0}
    where: dict[str, Any] = {"python": python, "pythonpath": [str(ENVS)], "entry_point": "envpool:make_gymnasium"}
    env = gym_service.make("pool", **where, kwargs=kwargs)
    try:
        env.reset()
        yield env
    finally:
        env.close()


def stepping(env: Any, count: int) -> Block:
    actions = cycle([np.zeros(count, np.int32), np.ones(count, np.int32)])
    return repeated(lambda: env.step(next(actions)))


def profile(python: str) -> None:
    """Sample both sides of a step of the smaller pool."""
    sys.path.insert(0, str(ENVS))
    import sampler
    from rich.console import Console

    from benchmarks.profile import table

    console = Console(width=130)
    with pool(python, COUNTS[0]) as env:
        block = stepping(env, COUNTS[0])
        block(1000)
        env.call("sampler:begin")
        sampler.begin()
        calls, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < PROFILED_S:
            block(100)
            calls += 100
        step_us = (time.perf_counter() - begun) / calls * 1e6
        sides = {"client": sampler.end(), "server": env.call("sampler:end")}
    for side, samples in sides.items():
        console.print(table(side, samples, step_us))


if __name__ == "__main__":
    main()
