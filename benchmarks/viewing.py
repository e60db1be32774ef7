"""What ``gym-service view`` costs a step: while nobody looks, and while somebody does; in turn, in one run.

    python -m benchmarks.viewing [--seconds 20] [--fps 10]

``CartPole`` with render_mode="rgb_array" in three servers: one that cannot be looked at, since it has no record; one at
which nobody looks; and one that is looked at. Where strace may be used, the system calls of 1,000 steps too. Knows
gym-service as a user does, and the viewer's end of a look. Linux, Python 3.10 and up.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

from gym_service_launcher.processes import pidfiles

import gym_service
from gym_service.viewer.observed import ObservedServer

BLOCK_S = 0.25
STEPS = 1000
NOWHERE = "/dev/null/none"


def made(*, has_record: bool = True) -> Any:
    """CartPole, in a server with or without the record through which a viewer asks."""
    usual = os.environ.get("XDG_RUNTIME_DIR")
    if not has_record:
        os.environ["XDG_RUNTIME_DIR"] = NOWHERE
    try:
        return gym_service.make("CartPole-v1", python=sys.executable, render_mode="rgb_array")
    finally:
        if not has_record:
            os.environ.pop("XDG_RUNTIME_DIR")
            if usual is not None:
                os.environ["XDG_RUNTIME_DIR"] = usual


def record_of(env: Any) -> Any:
    """The record of an env's server."""
    return next(server.record for server in pidfiles.list_servers() if server.pid == env.target["pid"])


def stepping(env: Any) -> Callable[[], None]:
    env.reset(seed=0)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()

    return step


def blocks(seconds: float, fps: float) -> Iterator[tuple[list[float], float, int]]:
    """Microseconds a step in each server; of the last one the microseconds of rendering in it, and its pictures."""
    with ExitStack() as stack:
        envs = [stack.enter_context(closing(made(has_record=has))) for has in (False, True, True)]
        look = stack.enter_context(closing(ObservedServer(record_of(envs[2]), fps=fps, count=1)))
        steps = [stepping(env) for env in envs]
        end, turn = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            taken, rendered_s, pictures, turn = [0.0, 0.0, 0.0], 0.0, 0, turn + 1
            for which in range(3) if turn % 2 else reversed(range(3)):
                look.renew()
                count, begun = 0, time.perf_counter()
                while time.perf_counter() - begun < BLOCK_S:
                    steps[which]()
                    count += 1
                taken[which] = (time.perf_counter() - begun) / count * 1e6
                while view := look.receive():
                    rendered_s, pictures = rendered_s + view.facts["render_s"] / count, pictures + 1
            yield taken, rendered_s * 1e6, pictures


def system_calls(env: Any) -> int:
    """How many system calls the server makes for STEPS steps."""
    step = stepping(env)
    command = ["strace", "-f", "-c", "-p", str(env.target["pid"])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracing:
        assert tracing.stderr
        tracing.stderr.readline()  # "attached"
        for _ in range(STEPS):
            step()
        tracing.send_signal(2)
        found = re.findall(r"^100\.00\s+\S+\s+\S*\s+(\d+)", tracing.stderr.read(), re.MULTILINE)
    return int(found[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="in all (default 20)")
    parser.add_argument("--fps", type=float, default=10.0, help="pictures a second at most (default 10)")
    arguments = parser.parse_args()
    found = list(blocks(arguments.seconds, arguments.fps))
    bare, quiet, looked_at = (statistics.median(taken[which] for taken, _, _ in found) for which in range(3))
    rendering = statistics.median(us for _, us, _ in found)
    print(f"no viewer possible: {bare:.1f} us a step; {len(found)} rounds")
    print(f"nobody looks:       {quiet:.1f} us a step ({quiet - bare:+.1f} us)")
    print(f"at {arguments.fps:g} pictures/s:   {looked_at:.1f} us a step ({looked_at - quiet:+.1f} us)")
    print(f"  of which in render() and what surrounds it: {rendering:.1f} us a step")
    if shutil.which("strace"):
        with closing(made(has_record=False)) as without, closing(made()) as with_record:
            counts = [system_calls(without), system_calls(with_record)]
        print(f"system calls of {STEPS} steps: {counts[0]} where no viewer is possible, {counts[1]} where nobody looks")


if __name__ == "__main__":
    main()
