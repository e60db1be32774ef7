"""A picture of a record: for each workload a bar for each contender, and the promises below.

Knows pillow and records. Never knows how anything is timed. Python 3.10 and up.

The bars of a panel share one scale that begins at nothing; the panels have nothing to do with each other.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.criteria import Judged, Verdict
from benchmarks.record import Found
from benchmarks.tables import duration
from benchmarks.workloads import ASYNC, IN_PROCESS, LOOKING, LOOP, MEMCPY, SLEEPING

WIDTH, MARGIN, COLUMNS = 1800, 50, 2
PANEL_WIDTH = (WIDTH - 3 * MARGIN) // COLUMNS
TITLE_HEIGHT, ROW_HEIGHT, PANEL_GAP = 44, 30, 34
LABEL_WIDTH, VALUE_WIDTH = 235, 105
INK, FAINT, PAPER = "#1f2933", "#7b8794", "#ffffff"
OURS, PEER, YARDSTICK, FLOOR, SPREAD = "#1f7a8c", "#c3cbd4", "#8d99a6", "#e4e8ec", "#0b3c49"
FLOORS = (IN_PROCESS, LOOP, SLEEPING, LOOKING, MEMCPY)
VERDICT_INKS = {
    Verdict.PASS: "#2f855a",
    Verdict.FALL_SHORT: "#c53030",
    Verdict.INCONCLUSIVE: "#b7791f",
    Verdict.NOT_RUN: FAINT,
}
# Where the texts of the promises, and what became of them, begin.
PROMISE_COLUMNS = (0, 560, 700, 860, 960)


def draw(found: Sequence[Found], results: Sequence[Judged], file: Path) -> None:
    """Write the PNG."""
    columns = _in_columns(found)
    panels_height = max((sum(map(_height, column)) for column in columns), default=0)
    height = 2 * MARGIN + panels_height + TITLE_HEIGHT + ROW_HEIGHT * (len(results) + 2)
    image = Image.new("RGB", (WIDTH, height), PAPER)
    canvas = ImageDraw.Draw(image)
    for number, column in enumerate(columns):
        top = MARGIN
        for one in column:
            _panel(canvas, one, MARGIN + number * (PANEL_WIDTH + MARGIN), top)
            top += _height(one)
    _promises(canvas, results, MARGIN + panels_height)
    canvas.text((MARGIN, height - MARGIN - ROW_HEIGHT), _legend(found), FAINT, _font(14))
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


def _legend(found: Sequence[Found]) -> str:
    where = (
        ", ".join(
            f"{name} {found[-1].machine[name]}"
            for name in ("cores", "processor", "Python")
            if name in found[-1].machine
        )
        if found
        else ""
    )
    return f"Bars: the median block. Lines: the quartiles. Each panel has a scale of its own. {where}"


def _in_columns(found: Sequence[Found]) -> list[list[Found]]:
    """Each panel, in turn, into the column that is the shorter so far."""
    columns: list[list[Found]] = [[] for _ in range(COLUMNS)]
    for one in found:
        min(columns, key=lambda column: sum(map(_height, column))).append(one)
    return columns


def _height(found: Found) -> int:
    return TITLE_HEIGHT + ROW_HEIGHT * len(found.blocks_us) + PANEL_GAP


def _panel(canvas: ImageDraw.ImageDraw, found: Found, left: int, top: int) -> None:
    canvas.text((left, top), found.title, INK, _font(21))
    top += TITLE_HEIGHT
    timings = found.timings
    longest_us = max(timing.quartiles_us[1] for timing in timings.values())
    begin, length = left + LABEL_WIDTH, PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH
    for name, timing in sorted(timings.items(), key=lambda item: item[1].median_us):
        middle = top + ROW_HEIGHT // 2
        canvas.text((begin - 12, middle), name, OURS if _is_ours(name) else INK, _font(16), anchor="rm")
        median, low, high = (begin + length * us / longest_us for us in (timing.median_us, *timing.quartiles_us))
        canvas.rectangle((begin, middle - 9, max(median, begin + 1), middle + 9), _colour(name))
        canvas.line((low, middle, high, middle), SPREAD, 2)
        for end in (low, high):
            canvas.line((end, middle - 4, end, middle + 4), SPREAD, 2)
        canvas.text((max(median, high) + 10, middle), duration(timing.median_us), INK, _font(16), anchor="lm")
        top += ROW_HEIGHT


def _promises(canvas: ImageDraw.ImageDraw, results: Sequence[Judged], top: int) -> None:
    canvas.text((MARGIN, top), "Targets", INK, _font(21))
    places = [MARGIN + column for column in PROMISE_COLUMNS]
    for place, heading in zip(places[1:], ("ratio", "must", "aim"), strict=False):
        canvas.text((place, top + 6), heading, FAINT, _font(16))
    top += TITLE_HEIGHT
    for one in results:
        middle = top + ROW_HEIGHT // 2
        ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
        for place, text in zip(places, (one.text, ratio, one.must, one.aim), strict=False):
            canvas.text((place, middle), text, INK, _font(16), anchor="lm")
        verdict = one.verdict.value + (f": {one.because}" if one.because else "")
        canvas.text((places[-1], middle), verdict[:90], VERDICT_INKS[one.verdict], _font(16), anchor="lm")
        top += ROW_HEIGHT


def _is_ours(name: str) -> bool:
    return name.startswith("gym-service") or "open" in name or "prefork" in name


def _colour(name: str) -> str:
    if _is_ours(name):
        return OURS
    return YARDSTICK if name == ASYNC else FLOOR if name in FLOORS else PEER


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that pygame brings: pillow's own has no ×, ÷ or µ."""
    pygame = find_spec("pygame")
    assert pygame
    assert pygame.origin
    return ImageFont.truetype(Path(pygame.origin).with_name("freesansbold.ttf"), size)
