"""Actions that depend on a seed and a space alone: the same with every version of Gymnasium and numpy.

Knows spaces. Never knows an env. Python 3.10 and up.

Why not ``space.sample()``: how a space draws, and how numpy's generators do, has changed between versions, and the
parity hash of a lock file must not depend on the client that makes it. Here the randomness is SHA-256 of a counter.
"""

import hashlib
from collections.abc import Iterator
from itertools import count
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

# Where a Box has no bound: actions of that size are usual.
UNBOUNDED = 1.0


class NoFixedActions(Exception):
    """A space has no fixed actions here; the text names it."""


def fixed_actions(space: gymnasium.Space[Any], seed: int) -> Iterator[Any]:
    """Endlessly many actions out of a space. Raises NoFixedActions, with the first one, where it is of another kind."""
    words = _words(seed)
    while True:
        yield _draw(space, words)


def zero_action(space: gymnasium.Space[Any]) -> Any:
    """The action that does the least: zeros, or what lies nearest to them in the space. Raises NoFixedActions."""
    if isinstance(space, spaces.Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high).astype(space.dtype)
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(max(int(space.start), min(0, int(space.start + space.n) - 1)))
    if isinstance(space, spaces.MultiDiscrete):
        return np.clip(np.zeros_like(space.nvec), space.start, space.start + space.nvec - 1).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, space.dtype)
    if isinstance(space, spaces.Tuple):
        return tuple(zero_action(part) for part in space.spaces)
    if isinstance(space, spaces.Dict):
        return {key: zero_action(part) for key, part in space.spaces.items()}
    raise NoFixedActions(f"a {type(space).__name__} space has no zero action")


def _words(seed: int) -> Iterator[int]:
    """64-bit numbers."""
    for number in count():
        digest = hashlib.sha256(b"%d %d" % (seed, number)).digest()
        for at in range(0, len(digest), 8):
            yield int.from_bytes(digest[at : at + 8], "little")


def _draw(space: gymnasium.Space[Any], words: Iterator[int]) -> Any:
    if isinstance(space, spaces.Box):
        return _draw_box(space, words)
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(int(space.start) + next(words) % int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        start = np.broadcast_to(space.start, space.nvec.shape)
        drawn = [int(low) + next(words) % int(n) for low, n in zip(start.ravel(), space.nvec.ravel(), strict=True)]
        return np.array(drawn, space.dtype).reshape(space.nvec.shape)
    if isinstance(space, spaces.MultiBinary):
        return np.array([next(words) % 2 for _ in range(int(np.prod(space.shape)))], space.dtype).reshape(space.shape)
    if isinstance(space, spaces.Tuple):
        return tuple(_draw(part, words) for part in space.spaces)
    if isinstance(space, spaces.Dict):
        return {key: _draw(part, words) for key, part in space.spaces.items()}
    raise NoFixedActions(f"a {type(space).__name__} space has no fixed actions")


def _draw_box(space: spaces.Box, words: Iterator[int]) -> np.ndarray:
    assert space.dtype is not None
    bounds = zip(space.low.ravel(), space.high.ravel(), strict=True)
    if space.dtype.kind in "iu":
        drawn: list[Any] = [int(low) + next(words) % (int(high) - int(low) + 1) for low, high in bounds]
    else:
        drawn = [_between(float(low), float(high), next(words)) for low, high in bounds]
    return np.array(drawn, space.dtype).reshape(space.shape)


def _between(low: float, high: float, word: int) -> float:
    if low == -np.inf:
        low = min(high, UNBOUNDED) - 2 * UNBOUNDED
    if high == np.inf:
        high = max(low, -UNBOUNDED) + 2 * UNBOUNDED
    return low + (high - low) * (word / 2**64)
