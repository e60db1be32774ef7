"""The first difference between two plays, in words.

Knows moments, as ``trajectory.py`` has them. Python 3.10 and up.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gym_service.testing.in_target import trajectory

SHOWN_CHARS = 120


class Difference(NamedTuple):
    """Where two plays part: the number of the moment, and the moment on either side; None where one has ended."""

    number: int
    theirs: Sequence[Any] | None
    ours: Sequence[Any] | None


def first(theirs: Sequence[Sequence[Any]], ours: Iterable[Sequence[Any]]) -> Difference | None:
    """The first moment that differs, None if none does.

    Args:
        theirs: (where, path, kind, content) of each moment inside the simulator's interpreter.
        ours: likewise, through the bridge, and the value as a fifth.
    """
    number = 0
    for number, record in enumerate(ours, 1):
        if number > len(theirs):
            return Difference(number - 1, None, record)
        if list(theirs[number - 1][:4]) != list(record[:4]):
            return Difference(number - 1, theirs[number - 1], record)
    return Difference(number, theirs[number], None) if number < len(theirs) else None


def describe_difference(
    difference: Difference, full: tuple[Callable[[int], str], Callable[[int], str]], sides: tuple[str, str]
) -> str:
    """What differs, in one line.

    Args:
        difference: as ``first`` gives it.
        full: the bytes of their array, and of ours, in hex, by the number of the moment.
        sides: what to call them and us ("in the simulator", "here").
    """
    theirs, ours = difference.theirs, difference.ours
    if theirs is None or ours is None:
        one, side = (ours, sides[1]) if theirs is None else (theirs, sides[0])
        assert one is not None
        return f"{one[0]}: {one[1]} is only {side}: {shown(one)}"
    where = theirs[0] if ours[2] == trajectory.RAISED else ours[0]
    if list(theirs[:2]) != list(ours[:2]):
        left, right = _told_apart(_placed(theirs), _placed(ours))
        # Of two plays that part, the same value may stand in another moment.
        elsewhere = f" in {theirs[0]}" if left == right else ""
        return f"{where}: {left}{elsewhere} {sides[0]}, {right} {sides[1]}"
    if theirs[2] == ours[2] and theirs[2].startswith("numpy array"):
        found = [find(difference.number) or record[3] for find, record in zip(full, (theirs, ours), strict=True)]
        return f"{where}: {ours[1]}{_elements(ours[2], found, sides)}"
    return f"{where}: {ours[1]}: {_both(theirs, ours, sides)}"


def _placed(record: Sequence[Any]) -> str:
    return shown(record) if record[2] == trajectory.RAISED else f"{record[1]} is {shown(record)}"


def _both(theirs: Sequence[Any], ours: Sequence[Any], sides: tuple[str, str]) -> str:
    left, right = shown(theirs), shown(ours)
    if left == right:  # both were cut before they part
        left, right = _told_apart(f"{theirs[2]} {theirs[3]}", f"{ours[2]} {ours[3]}")
    return f"{left} {sides[0]}, {right} {sides[1]}"


def _told_apart(one: str, other: str) -> tuple[str, str]:
    """Two texts, cut so that where they part can be seen."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = 0 if at < SHOWN_CHARS // 2 else at - SHOWN_CHARS // 2
    left, right = (text[start : start + SHOWN_CHARS] for text in (one, other))
    return tuple(  # type: ignore[return-value]
        f"{'…' if start else ''}{cut}{'…' if start + SHOWN_CHARS < len(text) else ''}"
        for cut, text in ((left, one), (right, other))
    )


def _elements(kind: str, contents: Sequence[str], sides: tuple[str, str]) -> str:
    """The index of the first element that differs, and its two values; of long arrays that are gone, their digests."""
    _, _, dtype, shape = kind.split(" ", 3)
    lengths = [int(length) for length in shape.strip("(),").split(",") if length.strip()]
    size_bytes = np.dtype(dtype).itemsize * int(np.prod(lengths))
    # Asked a second time, a simulator that differs from itself may give another array.
    if all(len(content) == 2 * size_bytes and " " not in content for content in contents):
        arrays = [np.frombuffer(bytes.fromhex(content), dtype).reshape(lengths) for content in contents]
        for index in np.ndindex(*lengths):
            one, other = arrays[0][index], arrays[1][index]
            if one.tobytes() != other.tobytes():
                at = f"[{', '.join(map(str, index))}]" if index else ""
                left, right = _number(one), _number(other)
                if left == right:
                    left, right = f"{left} ({one.tobytes().hex()})", f"{right} ({other.tobytes().hex()})"
                return f"{at}: {left} {sides[0]}, {right} {sides[1]}"
    told = [f"{content[:SHOWN_CHARS]} {side}" for content, side in zip(contents, sides, strict=True)]
    return f": other numbers in an array of {_dtype_name(dtype)} {shape}: {', '.join(told)}"


def _number(value: Any) -> str:
    """A numpy scalar."""
    shown = str(value.item())
    return f"{shown} ({value.tobytes().hex()})" if value.dtype.kind in "fc" and value != value else shown


def shown(record: Sequence[Any]) -> str:
    """What a record holds, in a few words: "numpy.float32 2.5", "an array of uint8 (8, 8, 3)"."""
    kind, content = record[2], record[3]
    if kind.startswith("numpy"):
        _, sort, dtype, shape = kind.split(" ", 3)
        name = _dtype_name(dtype)
        if sort == "array":
            return f"an array of {name} {shape}"
        if " " in content:  # long, and so a digest
            return f"numpy.{name} of {content}"
        return f"numpy.{name} {_number(np.frombuffer(bytes.fromhex(content), dtype)[0])}"
    if kind == trajectory.RAISED:
        return f"raised {content.splitlines()[0][:SHOWN_CHARS]}"
    text = f"{kind} {content}".strip()
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _dtype_name(dtype: str) -> str:
    found = np.dtype(dtype)
    return found.name if found.isnative and found.kind in "biufc" else dtype
