"""What a server's memory is beside that of the bare simulator: the resident MiB of two processes that do the same.

    python -m benchmarks.server_memory [--runs 5] [--python PYTHON]

Both make CartPole and step it 3,000 times in the same interpreter: one as a server of gym-service, one as a program
that knows nothing of it. Medians of their differences, run by run. *Own* is the memory that no other process shares.

Knows one env through gym-service, and /proc. Python 3.10 and up, Linux.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import gym_service
from benchmarks.children import started

STEPS = 3000
BARE = f"""
import sys
import gymnasium as gym
env = gym.make("CartPole-v1")
env.reset(seed=0)
for number in range({STEPS}):
    if env.step(number & 1)[2]:
        env.reset()
print("done", flush=True)
sys.stdin.read()
"""
MUST_MIB, AIM_MIB = 6, 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a server's memory is beside that of the bare simulator.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with gymnasium (default: this one)")
    given = parser.parse_args(arguments)
    pairs = [(of_server(given.python), of_bare(given.python)) for _ in range(given.runs)]
    print(f"MiB, medians of {given.runs} runs: a server, the bare simulator, and the difference")
    for index, name in enumerate(("resident", "own")):
        servers, bares = ([side[index] for side in sides] for sides in zip(*pairs, strict=True))
        more = statistics.median(server - bare for server, bare in zip(servers, bares, strict=True))
        line = f"{name:10} {statistics.median(servers):6.1f} {statistics.median(bares):6.1f} {more:+6.1f}"
        print(line + (f"   (must be at most {MUST_MIB}, aim {AIM_MIB})" if name == "resident" else ""))
    return 0


def of_server(python: str) -> tuple[float, float]:
    with gym_service.make("CartPole-v1", python=python) as env:
        env.reset(seed=0)
        for number in range(STEPS):
            if env.step(number & 1)[2]:
                env.reset()
        return memory_of(env.unwrapped.target["pid"])


def of_bare(python: str) -> tuple[float, float]:
    with started([python, "-W", "ignore", "-c", BARE]) as child:
        child.line()
        return memory_of(child.process.pid)


def memory_of(pid: int) -> tuple[float, float]:
    """(Resident MiB, those that no other process shares)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kib["Rss"] / 1024, (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024


if __name__ == "__main__":
    sys.exit(main())
