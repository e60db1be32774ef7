"""What a parallel step of three agents costs, against a step of a single env with the same payload, block by block.

    python -m benchmarks.multi_agent [--blocks 30] [--python PATH]

Neither env computes anything, so that all of the time is the bridge's. Needs PettingZoo on this side. Knows
gym_service's two functions. Python 3.10 and up.
"""

import argparse
import statistics
import sys
from pathlib import Path

from benchmarks.interleaved import ratios, repeated, time_in_turn

ENVS = Path(__file__).absolute().parent / "envs"


def main() -> None:
    """Print both medians and the ratio."""
    import gym_service

    parser = argparse.ArgumentParser(prog="python -m benchmarks.multi_agent")
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--python", default=sys.executable, help="the simulator's interpreter; default: this one")
    chosen = parser.parse_args()
    parallel = gym_service.make_parallel(
        "three", python=chosen.python, pythonpath=[str(ENVS)], entry_point="gym_bench_agents:Parallel"
    )
    single = gym_service.make(
        "one", python=chosen.python, pythonpath=[str(ENVS)], entry_point="gym_bench_agents:Single"
    )
    try:
        parallel.reset()
        single.reset()
        actions = dict.fromkeys(parallel.agents, 2)
        contenders = {
            "parallel": repeated(lambda: parallel.step(actions)),
            "single": repeated(lambda: single.step(actions)),
        }
        found = time_in_turn(contenders, blocks=chosen.blocks, block_s=0.05)
        for name, timing in found.items():
            print(f"{name:10} {timing.median_us:8.1f} µs   fastest {min(timing.blocks_us):8.1f} µs")
        print(f"ratio      {statistics.median(ratios(found['parallel'], found['single'])):8.2f}")
    finally:
        parallel.close()
        single.close()


if __name__ == "__main__":
    main()
