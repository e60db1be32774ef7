"""Through a real server: arrays whose size changes, the bound on shared memory, and a client without descriptors."""

import gc
import warnings

import numpy as np
import pytest
from support import procfs
from support.clients import client
from support.faulty import act, faulty
from support.opened import opened

from gym_service import RemoteEnv

MIB = 2**20
LONG = [400, pytest.param(200_000, marks=pytest.mark.long)]
# The growth from malloc and first uses; far below the 0.25 MB per 1,000 steps that the long form would detect.
GROWTH_BYTES = 6 * MIB


def shared_bytes(pid: int | str = "self") -> int:
    """The size of the gym-service memory that a process has mapped."""
    sizes = []
    for line in procfs.mappings(pid):
        if "memfd:gym-service" in line:
            begin, _, end = line.split()[0].partition("-")
            sizes.append(int(end, 16) - int(begin, 16))
    return sum(sizes)


def step(env: RemoteEnv, number: int) -> None:
    observation, reward, *_ = env.step(0)
    assert (observation == number).all()
    assert reward == number


@pytest.mark.parametrize("steps", LONG)
def test_arrays_whose_size_changes_hold_a_few_of_the_largest(steps: int) -> None:
    gc.collect()
    here = shared_bytes()
    with opened("Growing", entry_point="growing:GrowingEnv") as env:
        env.reset()
        for number in range(1, steps + 1):
            step(env, number)
            if number % 10 == 0:
                assert (env.render() == number % 256).all()
        largest_bytes = 400_000 * 4
        for pid, before in (("self", here), (env.target["pid"], 0)):
            assert 0 < shared_bytes(pid) - before <= 16 * largest_bytes


@pytest.mark.parametrize("arena_mib", [0, 1, 4])
def test_the_bound_on_shared_memory_holds_and_nothing_is_lost(arena_mib: int) -> None:
    gc.collect()
    here = shared_bytes()  # earlier tests may have left some
    with opened("Growing", entry_point="growing:GrowingEnv", arena_mib=arena_mib) as env:
        kept = []
        env.reset()
        for number in range(1, 200):
            kept.append((env.step(0)[0], number))
            for pid, before in (("self", here), (env.target["pid"], 0)):
                assert shared_bytes(pid) - before <= arena_mib * MIB
            del kept[:-8]
        assert all((observation == number).all() for observation, number in kept)


WITHOUT_DESCRIPTORS = """
import resource
from support.opened import opened
with opened("Growing", entry_point="growing:GrowingEnv") as env:
    env.reset()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    spare = []
    try:
        while True:
            spare.append(os.dup(0))
    except OSError:
        pass
    for number in range(1, 60):
        observation = env.step(0)[0]
        assert (observation == number).all()
    say("inline")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for fd in spare:
        os.close(fd)
say("closed")
"""


def test_a_client_at_its_limit_of_descriptors_keeps_its_env() -> None:
    with client(WITHOUT_DESCRIPTORS) as running:
        assert running.says() == "inline"
        assert running.says() == "closed"
        assert running.end() == 0
        assert running.errors() == ""


@pytest.mark.parametrize("steps", [1500, pytest.param(200_000, marks=pytest.mark.long)])
def test_values_that_cannot_cross_under_new_keys_do_not_add_up(steps: int) -> None:
    """Only a limited number of them gives a warning; the others still arrive as an Opaque."""
    with opened("Growing", entry_point="growing:GrowingEnv", kwargs={"odd": True}) as env:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            env.reset()
            for number in range(1, steps // 3):
                step(env, number)
            pids = ("self", env.target["pid"])
            before = [procfs.memory_bytes(pid) for pid in pids]
            for number in range(steps // 3, steps + 1):
                step(env, number)
            after = [procfs.memory_bytes(pid) for pid in pids]
            info = env.step(0)[4]
        assert type(info[f"odd {steps + 1}"]).__name__ == "Opaque"
        texts = [str(each.message) for each in seen]
        assert len(texts) == 100
        assert "this was the last warning of this kind" in texts[-1]
        assert all(now - then <= GROWTH_BYTES for now, then in zip(after, before, strict=True)), (before, after)


def test_more_frames_are_kept_than_there_are_slots() -> None:
    with faulty(side=96) as env:
        env.reset()
        kept = [(number, act(env, "step", number)[0]["image"]) for number in range(300)]
        assert all((image == number % 256).all() for number, image in kept)
        assert np.unique([image.ctypes.data for _, image in kept]).size == 300
