"""Whether to look or to sleep, in worlds in which one or the other is right; and a world that changes."""

import random

import pytest

from gym_service.transport.adaptive_spin import LOOK_S, TRIAL_WAITS, USUAL_WAITS, WAITS_AFTER_CHANGE, Patience

US = 1e-6
# (seconds of a wait that looks, of one that sleeps)
IDLE = (20 * US, 80 * US)  # processors idle, and waking costs
SHARED = (90 * US, 50 * US)  # both sides on one processor
LIGHT_BATCH = (235 * US, 290 * US)
SLOW = (5000 * US, 5050 * US)


def share_of_looks(patience: Patience, world: tuple[float, float], waits: int, chance: random.Random) -> float:
    looks = 0
    for _ in range(waits):
        looks += patience.looks
        took = world[0] if patience.looks else world[1]
        # One in fifty is out of the ordinary: a reset, a user who thinks.
        patience.note(took * chance.uniform(0.9, 1.3) if chance.random() > 0.02 else 0.3)
    return looks / waits


@pytest.mark.parametrize(
    ("world", "least", "most"),
    [(IDLE, 0.98, 1.0), (LIGHT_BATCH, 0.9, 1.0), (SHARED, 0.0, 0.02), (SLOW, 0.0, 0.02)],
    ids=["idle", "light batch", "shared", "slow"],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_better_way_is_found_and_kept(world: tuple[float, float], least: float, most: float, seed: int) -> None:
    patience, chance = Patience(), random.Random(seed)
    share_of_looks(patience, world, 3 * USUAL_WAITS, chance)
    assert least <= share_of_looks(patience, world, 50 * USUAL_WAITS, chance) <= most


@pytest.mark.parametrize("seed", range(5))
def test_a_world_that_changes_is_followed(seed: int) -> None:
    patience, chance = Patience(), random.Random(seed)
    for world, looks in [(IDLE, True), (SHARED, False), (IDLE, True), (SLOW, False), (IDLE, True)]:
        share_of_looks(patience, world, 3 * USUAL_WAITS, chance)
        assert (share_of_looks(patience, world, 2 * USUAL_WAITS, chance) > 0.5) is looks


def test_a_processor_that_others_take_between_looks_is_left_to_them_at_once() -> None:
    """By the looks alone, before sleeping was ever tried; and by one side, for two that sleep must both be woken."""
    polite, other = Patience(gives_way=True), Patience()
    for _ in range(20):
        polite.note(60 * US, looks=2)
        other.note(60 * US, looks=2)
    assert (polite.looks, other.looks) == (False, True)


def test_a_long_wait_of_many_looks_is_no_crowd() -> None:
    patience = Patience(gives_way=True)
    for _ in range(WAITS_AFTER_CHANGE - 1):
        patience.note(240 * US, looks=120)
    assert patience.looks


def test_after_a_crowd_looking_comes_back() -> None:
    patience = Patience(gives_way=True)
    for _ in range(20):
        patience.note(60 * US, looks=2)
    for _ in range(2 * (WAITS_AFTER_CHANGE + TRIAL_WAITS)):
        patience.note(*((20 * US, 10) if patience.looks else (80 * US, 0)))
    assert patience.looks


def test_a_look_lasts_long_enough_for_the_usual_wait() -> None:
    patience = Patience()
    assert patience.look_s == LOOK_S
    for _ in range(USUAL_WAITS - 1):
        patience.note(300 * US)
    assert 550 * US < patience.look_s < 650 * US


def test_trials_are_few() -> None:
    patience = Patience()
    ways = []
    for _ in range(10 * (USUAL_WAITS + TRIAL_WAITS)):
        ways.append(patience.looks)
        patience.note(20 * US if patience.looks else 80 * US)
    assert ways.count(False) == 10 * TRIAL_WAITS
