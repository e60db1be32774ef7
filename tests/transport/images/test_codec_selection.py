"""The choice between raw and encoded images, in simulated conditions that favour one or change. Uses no real clock."""

import random

import pytest

from gym_service.client.codec_selection import PAUSE, TRIAL_ANSWERS, CodecSelector

MIB = 2**20


class World:
    """A network, an image, and the cost of encoding it. After each answer the simulator steps for as long."""

    def __init__(self, bytes_per_s: float, raw_bytes: int = MIB, ratio: float = 30.0, coding_s_per_mib: float = 3e-3):
        self.bytes_per_s = bytes_per_s
        self.raw_bytes = raw_bytes
        self.coded_bytes = int(raw_bytes / ratio)
        self.coding_s = coding_s_per_mib * raw_bytes / MIB

    def cost_s(self, codes: bool) -> float:
        return self.coded_bytes / self.bytes_per_s + self.coding_s if codes else self.raw_bytes / self.bytes_per_s


class Clock:
    now_s = 1000.0


LOOPBACK, GIGABIT, FAST, USUAL, SLOW = (
    World(3e9),
    World(125e6),
    World(1.25e9),
    World(12.5e6),
    World(2.5e6),
)


def share_coded(selector: CodecSelector, world: World, answers: int, chance: random.Random, clock: Clock) -> float:
    coded = 0
    for _ in range(answers):
        codes = selector.use_codec
        coded += codes
        disturbed = chance.uniform(0.9, 1.3) if chance.random() > 0.02 else 20.0
        size_bytes = world.coded_bytes if codes else world.raw_bytes
        transfer_s = size_bytes / world.bytes_per_s * disturbed
        coding_s = world.coding_s * chance.uniform(0.9, 1.3) if codes else 0.0
        clock.now_s += transfer_s + coding_s + 0.003
        selector.record_transfer(codes, world.raw_bytes, size_bytes, transfer_s, coding_s, clock.now_s)
    return coded / answers


@pytest.mark.parametrize(
    ("world", "codes"),
    [
        (LOOPBACK, False),
        (FAST, False),
        (GIGABIT, True),
        (USUAL, True),
        (SLOW, True),
        (World(3e9, raw_bytes=30_000), False),
        (World(12.5e6, raw_bytes=30_000), True),
        (World(2.5e6, raw_bytes=44 * MIB), True),
    ],
    ids=["loopback", "10 Gbit/s", "1 Gbit/s", "100 Mbit/s", "20 Mbit/s", "small", "small and slow", "batch"],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_better_way_is_found_and_kept(world: World, codes: bool, seed: int) -> None:
    selector, chance, clock = CodecSelector(), random.Random(seed), Clock()
    share_coded(selector, world, 400, chance, clock)
    share = share_coded(selector, world, 4000, chance, clock)
    assert (share > 0.97) if codes else (share < 0.03)


@pytest.mark.parametrize("seed", range(5))
def test_noise_that_cannot_be_coded_is_mostly_sent_raw(seed: int) -> None:
    """Encoding costs a third more. Such cheap trials are frequent, and a disturbed one may mislead for a while."""
    selector, chance, clock = CodecSelector(), random.Random(seed), Clock()
    world = World(12.5e6, ratio=1.01, coding_s_per_mib=30e-3)
    assert share_coded(selector, world, 4000, chance, clock) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_a_world_that_changes_is_followed(seed: int) -> None:
    selector, chance, clock = CodecSelector(), random.Random(seed), Clock()
    for world, codes in [(LOOPBACK, False), (USUAL, True), (LOOPBACK, False), (SLOW, True), (FAST, False)]:
        share_coded(selector, world, 3000, chance, clock)
        assert (share_coded(selector, world, 1000, chance, clock) > 0.5) is codes


@pytest.mark.parametrize("world", [LOOPBACK, FAST, GIGABIT, USUAL, SLOW])
def test_trials_cost_a_per_cent(world: World) -> None:
    selector, chance, clock = CodecSelector(), random.Random(1), Clock()
    share_coded(selector, world, 400, chance, clock)
    best = selector.use_codec
    begun_s, lost_s = clock.now_s, 0.0
    for _ in range(10_000):
        lost_s += world.cost_s(selector.use_codec) - world.cost_s(best)
        share_coded(selector, world, 1, chance, clock)
    assert lost_s < 1.5 / PAUSE * (clock.now_s - begun_s)


def test_over_a_slow_link_raw_is_not_even_tried() -> None:
    selector, chance, clock = CodecSelector(), random.Random(1), Clock()
    for _ in range(200):
        assert selector.use_codec
        share_coded(selector, SLOW, 1, chance, clock)


def test_a_trial_is_broken_off_where_it_is_hopeless() -> None:
    """The first encoded bytes arrive in one read, so nothing is known about the link."""
    selector, answers_raw, now_s = CodecSelector(), 0, 0.0
    for _ in range(100):
        now_s += 0.01
        if selector.use_codec:
            selector.record_transfer(True, MIB, 30_000, 0.0, 0.003, now_s)
        else:
            answers_raw += 1
            selector.record_transfer(False, MIB, MIB, 0.4, 0.0, now_s)
    assert answers_raw == 1 < TRIAL_ANSWERS


def test_an_answer_in_the_other_way_is_no_news() -> None:
    selector = CodecSelector()
    for step in range(100):
        selector.record_transfer(False, MIB, MIB, 1e-6, 0.0, float(step))
    assert selector.use_codec
