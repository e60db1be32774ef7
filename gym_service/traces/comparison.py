"""What came back from a replay against what was recorded: the first difference, in words.

Knows rows and summaries (``value_digest.RollingDigest``). Never knows how anything is played. Python 3.10 and up.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gym_service.protocol.value_digest import MARK_BYTES
from gym_service.protocol.values import dtype_from
from gym_service.testing import trajectory_diff
from gym_service.testing.in_target import trajectory
from gym_service.traces.trace_file import Row

SIDES = ("recorded", "here")
SHOWN_CHARS = 120
_CONSTANTS = {b"N": "None", b"T": "True", b"F": "False"}
_NUMBERS = {b"i": ("int", "<q"), b"f": ("float", "<d")}

Items = Sequence[Sequence[Any]]


@dataclass
class Replayed:
    """What a replay found.

    ``calls`` and ``steps`` that were made; ``difference``, the first one in words, empty where there is none; ``at``,
    the number of its call, counted from 0; ``simulator``, what played it; ``notes``, what could not be compared.
    """

    calls: int = 0
    steps: int = 0
    difference: str = ""
    at: int | None = None
    simulator: str = ""
    notes: list[str] = field(default_factory=list)
    _resets: int = 0
    _steps_of_episode: int = 0

    def compare(self, row: Row, answer: "Answer", results: Callable[[], tuple[Any, ...] | None]) -> bool:
        """Count a call. Returns whether it gave what was recorded; where it did not, ``difference`` says how.

        Args:
            row: of the recording.
            answer: what came back this time.
            results: what was recorded, where the trace has the values.
        """
        is_same = answer.summary == row.summary
        if not is_same:
            self.at = self.calls
            self.difference = f"{self._where(row)}: {_words(row, answer, results)}"
        self.calls += 1
        if row.call == "step":
            self.steps += 1
            self._steps_of_episode += 1
        elif row.call == "reset":
            self._resets += 1
            self._steps_of_episode = 0
        return is_same

    def _where(self, row: Row) -> str:
        """Which call it is; everything is counted from 0."""
        if row.call == "reset":
            return f"reset {self._resets} (call {self.calls})"
        if row.call == "step":
            of_episode = f"step {self._steps_of_episode} of episode {self._resets - 1}"
            return f"step {self.steps} ({of_episode}, call {self.calls})"
        name = f" {row.arguments[0]!r}" if row.arguments else ""
        return f"{row.call}{name} after {self.steps} steps (call {self.calls})"


class Answer(NamedTuple):
    """What came back from one call. ``items`` gives its results as ``trajectory.items`` does, where they are wanted."""

    summary: bytes
    raised: str
    ended: str
    items: Callable[[], Items]


def _words(row: Row, answer: Answer, results: Callable[[], tuple[Any, ...] | None]) -> str:
    recorded, here = row.raised or row.ended, answer.raised or answer.ended
    if recorded or here:
        return f"{_told(recorded)} {SIDES[0]}, {_told(here)} {SIDES[1]}"
    names = trajectory.RESULT_NAMES[row.call]
    if len(row.results or ()) == 1 or len(_split(answer.summary)) == 1:  # of another form, as the simulator gave it
        names = names if len(names) == 1 else ("result",)
    theirs, ours = _entries(row.summary, names), _entries(answer.summary, names)
    differing = [name for name in names if theirs.get(name) != ours.get(name)]
    if not differing:
        return "what came back has another digest, though the check of each part is the same"
    text = _in_full(row, answer, differing[0], results())
    text = text or _in_short(answer, differing[0], theirs, ours)
    same = [name for name in names if name not in differing]
    text += f"; {' and '.join(differing[1:])} too" if differing[1:] else ""
    return text + (f"; the same: {', '.join(same)}" if same else "")


def _told(failure: str) -> str:
    """What became of a call."""
    return failure.splitlines()[0][:SHOWN_CHARS] if failure else "an answer"


def _in_full(row: Row, answer: Answer, name: str, results: tuple[Any, ...] | None) -> str:
    """The very element that differs, of a trace with its values; empty where there are none."""
    if results is None:
        return ""
    theirs = _inside(trajectory.named_items(row.call, results), name)
    ours = _inside(answer.items(), name)
    found = trajectory_diff.first(theirs, ours)
    if found is None:
        return ""
    full = (lambda number: _bytes_of(theirs[number]), lambda number: _bytes_of(ours[number]))
    return trajectory_diff.describe_difference(found, full, SIDES).partition(": ")[2]


def _in_short(answer: Answer, name: str, theirs: dict[str, bytes], ours: dict[str, bytes]) -> str:
    """What a trace of digests can say: numbers in full, and of anything longer that it is another."""
    recorded, here = _shown(theirs.get(name, b"")), _shown(ours.get(name, b""))
    if recorded and here:
        return f"$.{name}: {recorded} {SIDES[0]}, {here} {SIDES[1]}"
    items = _inside(answer.items(), name)
    is_container = items and items[0][2] in ("dict", "list", "tuple")
    kind = "" if not items else f"a {items[0][2]}" if is_container else trajectory_diff.shown(items[0])
    return f"$.{name} differs: {kind or 'a value'}, of which the trace has a digest alone (full=True keeps the values)"


def _inside(items: Any, name: str) -> list[Sequence[Any]]:
    """The items of one result."""
    root = f"$.{name}"
    return [item for item in items if item[1] == root or item[1].startswith((f"{root}[", f"{root}."))]


def _bytes_of(item: Sequence[Any]) -> str:
    """An array's bytes in hex: of a value, or as another process has given them."""
    return item[4] if isinstance(item[4], str) else trajectory.full_bytes(item[4])


def _entries(summary: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """The entry of each result, by its name."""
    return dict(zip(names, _split(summary), strict=False))  # a summary may be anybody's


def _split(summary: bytes) -> list[bytes]:
    """The entries of a summary: the length of each, or a zero, and what follows."""
    entries, at = [], MARK_BYTES
    while at < len(summary):
        end = at + 1 + (summary[at] or 4)
        entries.append(summary[at:end])
        at = end
    return entries


def _shown(entry: bytes) -> str:
    """A result that the summary has itself; empty where that has only a check."""
    tag, content = entry[1:2], entry[2:]
    if entry[:1] in (b"", b"\0"):
        return ""
    try:
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            name, form = _NUMBERS[tag]
            return f"{name} {struct.unpack(form, content)[0]!r}"
        if tag == b"n":
            end = 4 + int.from_bytes(content[:4], "little")
            dtype = dtype_from(content[4:end].decode("ascii"))
            return f"numpy.{dtype.name} {np.frombuffer(content[end:], dtype)[0].item()!r}" if dtype else ""
    except (struct.error, ValueError, IndexError):
        pass  # a summary may be anybody's
    return "a short value"
