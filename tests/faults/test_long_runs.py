"""Long runs: nothing accumulates on either side. Short in CI; run by hand in full."""

import gc

import numpy as np
import pytest
from support import procfs
from support.faulty import TRANSPORTS, act, faulty
from support.opened import opened

from gym_service import RemoteEnv
from gym_service.errors import EnvError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

MIB = 2**20
STEPS = [600, pytest.param(200_000, marks=pytest.mark.long)]
# What malloc keeps for the largest values so far. In the long form a leak of 100 bytes a step is three times as much.
GROWTH_BYTES = 6 * MIB
MOST_NODES, ERROR_EVERY, KEYS = 60, 50, 977  # as in tests/fixture_envs/long_run.py


def one_step(env: RemoteEnv, number: int) -> None:
    if number % ERROR_EVERY == 0:
        with pytest.raises(EnvError, match=f"step {number} fails"):
            env.step(0)
        return
    graph, reward, terminated, truncated, info = env.step(number % 2)
    assert (graph.nodes.shape, float(graph.nodes[0, 0])) == ((1 + number % MOST_NODES, 3), float(np.float32(number)))
    assert (graph.edges is None) == (graph.edge_links is None) == (number % 7 == 0)
    assert (reward, terminated, truncated) == (number, False, False)
    parts = [number, float(number), None, (number % 3,) * (number % 4)]
    assert info == {f"key {number % KEYS}": number, "text": "x" * (number % 301), "nested": {"parts": parts}}
    if number % 3 == 0:
        picture = env.render()
        assert picture is not None
        assert picture.shape == (16 + number * 37 % 200, 16 + number * 53 % 300, 3)
        assert (picture == number % 256).all()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("steps", STEPS)
def test_the_memory_of_both_sides_is_flat(steps: int, transport: str) -> None:
    """Graphs and images of changing size, changing infos and errors."""
    with opened("LongRun", entry_point="long_run:LongRunEnv", transport=transport) as env:
        env.reset()
        pids = ("self", env.target["pid"])
        for number in range(1, steps // 3):
            one_step(env, number)
        gc.collect()
        before = [procfs.memory_bytes(pid) for pid in pids]
        for number in range(steps // 3, steps + 1):
            one_step(env, number)
        gc.collect()
        grown = [procfs.memory_bytes(pid) - then for pid, then in zip(pids, before, strict=True)]
    print(f"grown over {steps - steps // 3} steps (bytes): client {grown[0]}, server {grown[1]}")  # pytest -s
    assert all(each <= GROWTH_BYTES for each in grown), grown


@pytest.mark.parametrize("count", [2_000, pytest.param(50_000, marks=pytest.mark.long)])
def test_kept_frames_stay_what_they_were(count: int) -> None:
    """Many times more frames than slots, of 19 KB each, which is large enough for a slot."""
    with faulty(side=80) as env:
        env.reset()
        kept = [act(env, "step", number)[0]["image"] for number in range(count)]
        assert all((image == number % 256).all() for number, image in enumerate(kept))
        fds = len(procfs.open_fds())
        assert fds < 200
        before = procfs.memory_bytes()
        del kept
        gc.collect()
        # The memory of the frames is returned, to this process or to the system.
        kept = [act(env, "step", number)[0]["image"] for number in range(count)]
        assert procfs.memory_bytes() - before <= GROWTH_BYTES
        assert all((image == number % 256).all() for number, image in enumerate(kept))
