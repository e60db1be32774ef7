"""Hunts for stale or torn reads: each byte of each frame must come from the call that asked for the frame.

    python tests/tools/stale.py --minutes 5 [--busy 2]

Steps single envs over both transports and vector envs with two workers, in turn, while it keeps and drops frames at
random. ``--busy N`` runs N processes beside it that compete for the processors. Prints the number of correct frames.
The exit code is 0, or 1 at the first byte of another call.

Knows tests/fixture_envs/stamped.py. Python 3.10 and up.
"""

import argparse
import contextlib
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gym_service

ENVS = Path(__file__).absolute().parent.parent / "fixture_envs"
GIVEN = {
    "python": sys.executable,
    "pythonpath": [str(ENVS)],
    "entry_point": "stamped:StampedEnv",
    "kwargs": {"height": 80, "width": 80},  # 19,200 bytes: just large enough for a slot
}
NUM_ENVS = 3
KEPT = 12
ROUND_STEPS = 2000


def single(transport: str) -> tuple[Any, Callable[[int], tuple[Any, int]]]:
    env = gym_service.make("Stamped", transport=transport, **GIVEN)
    stamp = int(env.reset()[0]["state"][0])
    frame = np.empty(env.action_space.shape, np.uint8)

    def step(number: int) -> tuple[Any, int]:
        nonlocal stamp
        stamp += 1
        frame[:] = number % 251
        observation, _, _, _, info = env.step(frame)
        assert info["action"] == (number % 251,) * 2, "the simulator saw another action"
        return observation, stamp

    return env, step


def vector() -> tuple[Any, Callable[[int], tuple[Any, int]]]:
    envs = gym_service.make_vec("Stamped", NUM_ENVS, workers=2, **GIVEN)
    stamp = int(envs.reset()[0]["state"][0, 0])
    frames = np.empty(envs.action_space.shape, np.uint8)

    def step(number: int) -> tuple[Any, int]:
        nonlocal stamp
        stamp += 1
        frames[:] = number % 251
        return envs.step(frames)[0], stamp

    return envs, step


def check(observation: dict[str, np.ndarray], stamp: int) -> None:
    for camera in ("top", "wrist"):
        seen = observation[camera]
        assert seen.min() == seen.max() == stamp % 251, (camera, stamp, np.unique(seen))
    assert (observation["state"] == stamp).all(), stamp


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    spinners = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


def _spin() -> None:
    while True:
        pass


def hunt(minutes: float) -> int:
    chance = random.Random(1)
    opened = [single("unix"), single("stdio"), vector()]
    kept: list[list[tuple[np.ndarray, int]]] = [[] for _ in opened]
    looked_at = number = 0
    until = time.monotonic() + 60 * minutes
    try:
        while time.monotonic() < until:
            which = chance.randrange(len(opened))
            mine = kept[which]
            for _ in range(ROUND_STEPS):
                number += 1
                observation, stamp = opened[which][1](number)
                check(observation, stamp)
                looked_at += 1
                if chance.random() < 0.1:
                    mine.append((observation["top"][::2], stamp % 251))
                if len(mine) > KEPT:
                    view, value = mine.pop(chance.randrange(KEPT))
                    assert view.min() == view.max() == value, "what was kept has changed"
    finally:
        for env, _ in opened:
            env.close()
    return looked_at


def main() -> int:
    parser = argparse.ArgumentParser(description="Hunt for reads that are stale or torn.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--busy", type=int, default=0, help="processes that want the processors meanwhile")
    options = parser.parse_args()
    with busy(options.busy):
        looked_at = hunt(options.minutes)
    print(f"{looked_at:,} steps, each byte of each frame of its own call")
    return 0


if __name__ == "__main__":
    sys.exit(main())
