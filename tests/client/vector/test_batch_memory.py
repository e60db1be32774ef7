"""Batches that all workers write in place: complete, exact, never written again while anything can see them."""

import gc
import os
import random

import numpy as np
import pytest
from support.forked import forked
from support.vector_play import remote

from gym_service import RemoteVectorEnv
from gym_service.client.batch_memory import BatchSlot
from gym_service.transport.arena import MOST_OF_A_SIZE

NUM_ENVS = 5
SHAPE = (NUM_ENVS, 120, 160, 3)
WORKERS = [1, 2, 3]


def stamped(workers: int, **given: object):
    return remote("Stamped", NUM_ENVS, entry_point="stamped:StampedEnv", workers=workers, **given)


def assert_stamped(observations: dict[str, np.ndarray], stamps: list[int]) -> None:
    assert observations["state"][:, 0].tolist() == stamps
    for row, stamp in enumerate(stamps):
        for camera in ("top", "wrist"):
            assert (observations[camera][row] == stamp % 251).all(), (camera, row, stamp)


def action(number: int) -> np.ndarray:
    actions = np.empty(SHAPE, np.uint8)
    for row in range(NUM_ENVS):
        actions[row] = (number + row) % 251
    return actions


def slots_of(value: np.ndarray, envs: RemoteVectorEnv) -> list[BatchSlot]:
    """The slot in whose memory it lies, if any."""
    slots = envs._batch_memory._slots
    return [each for each in slots if np.shares_memory(value, np.frombuffer(each.slot.bytes, np.uint8))]


def is_shared(value: np.ndarray, envs: RemoteVectorEnv) -> bool:
    return bool(slots_of(value, envs))


@pytest.mark.parametrize("workers", WORKERS)
def test_no_row_is_stale_or_torn(workers: int) -> None:
    chance = random.Random(workers)
    with stamped(workers) as envs:
        observations, _ = envs.reset(seed=1)
        assert_stamped(observations, [1] * NUM_ENVS)
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        shared = 0
        for number in range(120):
            observations, rewards, _, _, infos = envs.step(action(number))
            assert_stamped(observations, [number + 2] * NUM_ENVS)
            assert (rewards == number + 2).all()
            assert [tuple(pair) for pair in infos["action"]] == [((number + row) % 251,) * 2 for row in range(NUM_ENVS)]
            shared += is_shared(observations["top"], envs) and is_shared(observations["wrist"], envs)
            view = observations[chance.choice(["top", "wrist"])][:: chance.choice([1, -2]), 5:]
            if chance.random() < 0.3:
                view[:] = 3
            kept.append((view, view.copy()))
            while len(kept) > chance.randrange(1, 12):
                del kept[chance.randrange(len(kept))]
            assert all(np.array_equal(*pair) for pair in kept)
        # Whenever more are kept than ever before, memory is made for the next batch, and this one is sent.
        assert shared >= 100


@pytest.mark.parametrize("workers", WORKERS)
def test_who_keeps_every_batch_has_every_batch(workers: int) -> None:
    with stamped(workers) as envs:
        kept = [envs.reset()[0]]
        kept += [envs.step(action(number))[0] for number in range(2 * MOST_OF_A_SIZE + 10)]
        assert is_shared(kept[1]["top"], envs)
        assert not is_shared(kept[-1]["top"], envs)
        for number, observations in enumerate(kept, 1):
            assert_stamped(observations, [number] * NUM_ENVS)
        del kept, observations
        gc.collect()
        assert is_shared(envs.step(action(0))[0]["top"], envs)
    # They also outlive the envs.


@pytest.mark.parametrize("workers", WORKERS)
def test_a_partial_reset_leaves_the_other_rows(workers: int) -> None:
    with stamped(workers, autoreset_mode="Disabled") as envs:
        envs.reset()
        envs.step(action(0))
        mask = np.array([False, True, False, False, True])
        observations, _ = envs.reset(options={"reset_mask": mask})
        assert_stamped(observations, [2, 3, 2, 2, 3])


def test_what_comes_between_the_hooks_of_a_fork_is_never_written_again() -> None:
    with stamped(2) as envs:
        envs.reset()
        memory, used = envs._batch_memory, []
        for number in range(5):
            held = envs.step(action(number))[0]["top"]
        before = slots_of(held, envs)
        assert before
        memory.begin_fork(1)
        del held  # the child has a copy of it
        for number in range(20):
            if number == 10:
                memory.end_fork(1)
            top = envs.step(action(number))[0]["top"]
            used += slots_of(top, envs)
            if number == 9:
                during = list(used)
            del top
        assert len(during) == len(set(during)) > 2
        assert used[-1] not in during
        assert before[0] not in used
        assert used[-1] in used[len(during) : -1], "memory of after the fork is used again"


@pytest.mark.parametrize("workers", WORKERS)
def test_what_a_forked_child_writes_into_its_batch_is_its_own(workers: int) -> None:
    with stamped(workers) as envs:
        envs.reset()
        for number in range(5):
            held = envs.step(action(number))[0]
        assert is_shared(held["top"], envs)
        pid = os.fork()
        if pid == 0:
            held["top"][:] = 77
            os._exit(0)
        os.waitpid(pid, 0)
        assert_stamped(held, [6] * NUM_ENVS)


def test_what_a_forked_child_holds_does_not_change() -> None:
    with stamped(2) as envs:
        envs.reset()
        for number in range(5):
            held = [envs.step(action(number))[0]["top"]]
        assert is_shared(held[0], envs)
        seen = forked(held)
        held.clear()
        for number in range(10):
            assert_stamped(envs.step(action(number))[0], [number + 7] * NUM_ENVS)
        assert seen() == [(6, 6)]
        assert not any(each.is_retired for each in envs._batch_memory._slots), "what the child holds is forgotten here"
