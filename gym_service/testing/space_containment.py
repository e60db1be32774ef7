"""Whether a value lies in its space, and if not, where and why.

Knows spaces and arrays. Never knows which play the value is from. Python 3.10 and up.
"""

import reprlib
from typing import Any

import numpy as np
from gymnasium import spaces

SHOWN_CHARS = 300


def containment_error(space: spaces.Space[Any], value: Any, path: str = "$") -> str:
    """What of the value lies outside of the space, as a sentence that begins with its path; empty where all fits."""
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        if set(value) != set(space.spaces):
            return f"{path} has the keys {list(value)}, its space {list(space.spaces)}"
        parts = [(part, value[key], f"{path}[{key!r}]") for key, part in space.spaces.items()]
        return _first_of(parts)
    if isinstance(space, spaces.Tuple) and isinstance(value, tuple) and len(value) == len(space.spaces):
        return _first_of([(space.spaces[at], part, f"{path}[{at}]") for at, part in enumerate(value)])
    if isinstance(space, spaces.Box) and not isinstance(value, np.ndarray | np.generic):  # it contains lists, too
        return f"{path} is no array but of type {type(value).__name__}, its space has {space.dtype} {space.shape}"
    if _contains(space, value):
        return ""
    if isinstance(space, spaces.Box):
        return _outside_of_box(space, value, path)
    return f"{path} is {reprlib.repr(value)} ({type(value).__name__}), which is not in {space}"[:SHOWN_CHARS]


def _first_of(parts: list[tuple[spaces.Space[Any], Any, str]]) -> str:
    return next(filter(None, (containment_error(*part) for part in parts)), "")


def _contains(space: spaces.Space[Any], value: Any) -> bool:
    try:
        return space.contains(value)
    except Exception:  # noqa: BLE001 - what a space raises of a value is one more way to say no
        return False


def _outside_of_box(space: spaces.Box, value: Any, path: str) -> str:
    if value.shape != space.shape or not np.can_cast(value.dtype, space.dtype):
        theirs = f"an array of {value.dtype} {value.shape}"
        return f"{path} is {theirs}, its space has {space.dtype} {space.shape}"
    is_inside = (value >= space.low) & (value <= space.high)  # which a NaN is not
    first = np.argwhere(~np.asarray(is_inside))[0]
    index = tuple(int(each) for each in first)
    at = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{path}{at} is {value[index]}, outside of {space.low[index]} to {space.high[index]}"
