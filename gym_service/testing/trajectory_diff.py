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


def first(theirs: Sequence[Sequence[Any]], ours: Iterable[Sequence[Any]], *, values: bool = True) -> Difference | None:
    """The first moment that differs, None if none does.

    Args:
        theirs: (where, path, kind, content) of each moment inside the simulator's interpreter.
        ours: likewise, through the bridge, and the value as a fifth.
        values: compare contents too; without them types, dtypes and shapes alone.
    """
    number = 0
    for number, record in enumerate(ours, 1):
        if number > len(theirs):
            return Difference(number - 1, None, record)
        if not _equal(theirs[number - 1], record, values):
            return Difference(number - 1, theirs[number - 1], record)
    return Difference(number, theirs[number], None) if number < len(theirs) else None


def _equal(theirs: Sequence[Any], ours: Sequence[Any], values: bool) -> bool:
    # The keys of a dict are its structure.
    shown = 4 if values or ours[2] in ("dict", trajectory.RAISED) else 3
    return list(theirs[:shown]) == list(ours[:shown])


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
        return f"{where}: {_placed(theirs)} {sides[0]}, {_placed(ours)} {sides[1]}"
    if theirs[2] == ours[2] and theirs[2].startswith("numpy array"):
        left, right = (find(difference.number) for find in full)
        return f"{where}: {ours[1]}{_elements(ours[2], left, right, sides)}"
    return f"{where}: {ours[1]}: {shown(theirs)} {sides[0]}, {shown(ours)} {sides[1]}"


def _placed(record: Sequence[Any]) -> str:
    return shown(record) if record[2] == trajectory.RAISED else f"{record[1]} is {shown(record)}"


def _elements(kind: str, left: str, right: str, sides: tuple[str, str]) -> str:
    """The index of the first element that differs, and its two values."""
    _, _, dtype, shape = kind.split(" ", 3)
    lengths = [int(length) for length in shape.strip("(),").split(",") if length.strip()]
    arrays = [np.frombuffer(bytes.fromhex(content), dtype).reshape(lengths) for content in (left, right) if content]
    for index in np.ndindex(*lengths) if len(arrays) == 2 else ():
        one, other = arrays[0][index], arrays[1][index]
        if one.tobytes() != other.tobytes():
            at = f"[{', '.join(map(str, index))}]" if index else ""
            return f"{at}: {_number(one)} {sides[0]}, {_number(other)} {sides[1]}"
    return f": other numbers in an array of {_dtype_name(dtype)} {shape}"


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
        return f"numpy.{name} {_number(np.frombuffer(bytes.fromhex(content), dtype)[0])}"
    if kind == trajectory.RAISED:
        return f"raised {content.splitlines()[0][:SHOWN_CHARS]}"
    text = f"{kind} {content}".strip()
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _dtype_name(dtype: str) -> str:
    found = np.dtype(dtype)
    return found.name if found.isnative and found.kind in "biufc" else dtype
