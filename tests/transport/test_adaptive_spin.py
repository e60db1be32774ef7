"""The choice between spinning and sleeping, in simulated conditions that favour one of them or change."""

import random

import pytest

from gym_service.transport.adaptive_spin import SPIN_S, TRIAL_WAITS, USUAL_WAITS, WAITS_AFTER_CHANGE, AdaptiveSpin

US = 1e-6
# (duration of a wait that spins, of one that sleeps), in seconds
IDLE = (20 * US, 80 * US)  # processors are idle, and waking is expensive
SHARED = (90 * US, 50 * US)  # both sides share one processor
LIGHT_BATCH = (235 * US, 290 * US)
SLOW = (5000 * US, 5050 * US)


def share_of_spins(spin: AdaptiveSpin, world: tuple[float, float], waits: int, chance: random.Random) -> float:
    polls = 0
    for _ in range(waits):
        polls += spin.spinning
        took = world[0] if spin.spinning else world[1]
        # One wait in fifty is unusual: a reset, or a user's slow code.
        spin.record_wait(took * chance.uniform(0.9, 1.3) if chance.random() > 0.02 else 0.3)
    return polls / waits


@pytest.mark.parametrize(
    ("world", "least", "most"),
    [(IDLE, 0.98, 1.0), (LIGHT_BATCH, 0.9, 1.0), (SHARED, 0.0, 0.02), (SLOW, 0.0, 0.02)],
    ids=["idle", "light batch", "shared", "slow"],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_better_way_is_found_and_kept(world: tuple[float, float], least: float, most: float, seed: int) -> None:
    spin, chance = AdaptiveSpin(), random.Random(seed)
    share_of_spins(spin, world, 3 * USUAL_WAITS, chance)
    assert least <= share_of_spins(spin, world, 50 * USUAL_WAITS, chance) <= most


@pytest.mark.parametrize("seed", range(5))
def test_a_world_that_changes_is_followed(seed: int) -> None:
    spin, chance = AdaptiveSpin(), random.Random(seed)
    for world, polls in [(IDLE, True), (SHARED, False), (IDLE, True), (SLOW, False), (IDLE, True)]:
        share_of_spins(spin, world, 3 * USUAL_WAITS, chance)
        assert (share_of_spins(spin, world, 2 * USUAL_WAITS, chance) > 0.5) is polls


def test_a_processor_that_others_take_between_looks_is_left_to_them_at_once() -> None:
    """The polls alone show it, before a sleep is tried. Only one side yields: if both sleep, both must be woken."""
    polite, other = AdaptiveSpin(yields_cpu=True), AdaptiveSpin()
    for _ in range(20):
        polite.record_wait(60 * US, polls=2)
        other.record_wait(60 * US, polls=2)
    assert (polite.spinning, other.spinning) == (False, True)


def test_a_long_wait_of_many_looks_is_no_crowd() -> None:
    spin = AdaptiveSpin(yields_cpu=True)
    for _ in range(WAITS_AFTER_CHANGE - 1):
        spin.record_wait(240 * US, polls=120)
    assert spin.spinning


@pytest.mark.parametrize(("wait_us", "polls"), [(11, 1), (14, 2), (18, 3)])
def test_the_read_that_ends_a_short_wait_is_no_crowd(wait_us: int, polls: int) -> None:
    """The peer was fast: few polls, and beside them the read itself counts."""
    spin = AdaptiveSpin(yields_cpu=True)
    for _ in range(WAITS_AFTER_CHANGE - 1):
        spin.record_wait(wait_us * US, polls)
    assert spin.spinning


def test_after_a_crowd_looking_comes_back() -> None:
    spin = AdaptiveSpin(yields_cpu=True)
    for _ in range(20):
        spin.record_wait(60 * US, polls=2)
    for _ in range(2 * (WAITS_AFTER_CHANGE + TRIAL_WAITS)):
        spin.record_wait(*((20 * US, 10) if spin.spinning else (80 * US, 0)))
    assert spin.spinning


def test_a_look_lasts_long_enough_for_the_usual_wait() -> None:
    spin = AdaptiveSpin()
    assert spin.spin_s == SPIN_S
    for _ in range(USUAL_WAITS - 1):
        spin.record_wait(300 * US)
    assert 550 * US < spin.spin_s < 650 * US


def test_trials_are_few() -> None:
    spin = AdaptiveSpin()
    ways = []
    for _ in range(10 * (USUAL_WAITS + TRIAL_WAITS)):
        ways.append(spin.spinning)
        spin.record_wait(20 * US if spin.spinning else 80 * US)
    assert ways.count(False) == 10 * TRIAL_WAITS


def contended(spin: AdaptiveSpin, waits: int) -> int:
    """Waits during which another process takes the processor between polls. Returns in how many of them it spun."""
    spins = 0
    for _ in range(waits):
        spins += spin.spinning
        spin.record_wait(60 * US, polls=2) if spin.spinning else spin.record_wait(50 * US)
    return spins


def test_spinning_is_tried_again_soon_after_the_sides_shared_a_processor() -> None:
    """The scheduler moves one of them within milliseconds, and sleeping never shows that."""
    spin, chance = AdaptiveSpin(yields_cpu=True), random.Random(3)
    contended(spin, WAITS_AFTER_CHANGE + 4 * TRIAL_WAITS)
    assert not spin.spinning
    share_of_spins(spin, IDLE, 4 * WAITS_AFTER_CHANGE, chance)
    assert share_of_spins(spin, IDLE, USUAL_WAITS, chance) > 0.98


def test_trials_of_spinning_become_rare_while_others_run() -> None:
    spin = AdaptiveSpin(yields_cpu=True)
    contended(spin, 3 * USUAL_WAITS)
    assert contended(spin, 50 * USUAL_WAITS) <= 51 * TRIAL_WAITS
