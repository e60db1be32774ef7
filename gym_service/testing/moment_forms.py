"""The forms that two plays of a nondeterministic env have: types, dtypes, shapes and keys, by kind of moment.

Knows moments, as ``trajectory.py`` has them. Python 3.10 and up.

Two plays of such an env part: their episodes end at different steps, and a step may have a key that another lacks. So
the n-th moment is not compared with the n-th, but all steps with all steps, all steps that end an episode with all of
those, and so on. A kind of moment that one play lacks says nothing. What is a difference: that a value has a form in no
moment of one side that it has in the other; that a key is in all moments of a kind on one side, and in no moment of the
same call on the other; that keys have another order in all of them. Lists, sets and object arrays may have any length.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from gym_service.testing import trajectory_diff
from gym_service.testing.in_target import trajectory

Record = Sequence[Any]  # (where, path, kind, content), and perhaps more
ROOT = "$"
FLAGS = {"$.terminated": "terminates", "$.truncated": "truncates"}
TRUE = ("True", "01")  # of a bool, and of numpy's


class Forms:
    """All that was seen in the moments of one kind, on one side."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, Record]] = {}  # by path: each kind, with the first record of it
        self.keys: dict[str, set[tuple[str, ...]]] = {}  # by path of a dict or a tuple: the paths inside, in order

    def add(self, records: Iterable[Record]) -> None:
        """The records of one moment."""
        parents: list[tuple[str, list[str]]] = [(ROOT, [])]  # down to the value before, each with what is inside it
        whole = list(parents)
        for record in records:
            path, kind = record[1], record[2]
            self.kinds.setdefault(path, {}).setdefault(kind, record)
            while len(parents) > 1 and not path.startswith((f"{parents[-1][0]}[", f"{parents[-1][0]}.")):
                parents.pop()
            parents[-1][1].append(path)
            parents.append((path, []))
            if kind in ("dict", "tuple"):
                whole.append(parents[-1])
        for path, keys in whole:
            self.keys.setdefault(path, set()).add(tuple(keys))


def describe_difference(theirs: Iterable[Record], ours: Iterable[Record], sides: tuple[str, str]) -> str:
    """What has one form on one side and another on the other, in one line; empty where nothing has.

    Args:
        theirs: (where, path, kind, content) of each value inside the simulator's interpreter.
        ours: likewise, through the bridge.
        sides: what to call them and us ("in the simulator", "here").
    """
    left, right = forms_of(theirs), forms_of(ours)
    for moment in right:
        if moment == trajectory.RAISED and moment not in left:
            record = right[moment].kinds[ROOT][trajectory.RAISED]
            return f"{record[0]}: {trajectory_diff.shown(record)} {sides[1]}, and nothing is raised {sides[0]}"
        if moment in left:
            seen = tuple(_paths_of(forms, moment) for forms in (left, right))
            if found := _first(left[moment], right[moment], seen, sides):
                return f"every {moment}: {found}"
    return ""


def forms_of(records: Iterable[Record]) -> dict[str, Forms]:
    """The forms in a play, by kind of moment."""
    found: dict[str, Forms] = {}
    for (_, is_frame), group in groupby(records, key=lambda record: (record[0], record[1].startswith("$.frame"))):
        moment = list(group)
        found.setdefault("frame" if is_frame else _kind(moment), Forms()).add(moment)
    return found


def _kind(moment: Sequence[Record]) -> str:
    if moment[0][2] == trajectory.RAISED:
        return trajectory.RAISED
    ends = [FLAGS[record[1]] for record in moment if record[1] in FLAGS and record[3] in TRUE]
    return moment[0][0].split(" ")[0] + (f" that {' and '.join(ends)}" if ends else "")


def _paths_of(forms: dict[str, Forms], moment: str) -> set[str]:
    """All that was seen on one side in any moment of the same call."""
    call = moment.split(" ")[0]
    return {path for other in forms if other.split(" ")[0] == call for path in forms[other].kinds}


def _first(theirs: Forms, ours: Forms, seen: tuple[set[str], ...], sides: tuple[str, str]) -> str:
    """The first difference of two kinds of moments; ``seen``: the paths on either side in moments of the same call."""
    for path in (ROOT, *ours.kinds):
        left, right = theirs.kinds.get(path, {}), ours.kinds.get(path, {})
        if left and right and not left.keys() & right.keys():
            return f"{path}: {_shown(left)} {sides[0]}, {_shown(right)} {sides[1]}"
        if path in theirs.keys and path in ours.keys:
            words = _of_keys(path, (theirs.keys[path], ours.keys[path]), seen, sides)
            if words:
                return words
    return ""


def _of_keys(
    path: str, keys: tuple[set[tuple[str, ...]], ...], seen: tuple[set[str], ...], sides: tuple[str, str]
) -> str:
    theirs, ours = keys
    for always, elsewhere, (side, other) in ((theirs, seen[1], sides), (ours, seen[0], sides[::-1])):
        missing = set.intersection(*map(set, always)) - elsewhere
        if missing:
            first = next(key for key in next(iter(always)) if key in missing)
            return f"{first} is always there {side}, and never {other}"
    if not any(_same_order(left, right) for left in theirs for right in ours):
        left, right = (", ".join(key[len(path) :] for key in min(keys)) for keys in (theirs, ours))
        return f"{path} has the keys {left} {sides[0]}, {right} {sides[1]}"
    return ""


def _same_order(left: Sequence[str], right: Sequence[str]) -> bool:
    common = set(left) & set(right)
    return [key for key in left if key in common] == [key for key in right if key in common]


def _shown(kinds: dict[str, Record]) -> str:
    return " or ".join(trajectory_diff.shown(record) for record in kinds.values())
