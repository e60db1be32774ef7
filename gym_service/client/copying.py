"""Copies and pickles of remote envs: a new server makes the same env, and the copy needs a reset before a step.

Knows recipes as callables. Never knows how a server is started. Python 3.10 and up.
"""

from collections.abc import Callable
from typing import Any


class CopiedByRecipe:
    """An env whose pickles and copies, also in spawned processes, consist of the callable that makes it again.

    The simulator's state does not travel, so a copy is a new env without a reset. Until its first reset, ``step`` and
    ``render`` raise ResetNeeded, even if the simulator itself would allow them.
    """

    _recreate: "Callable[[], Any] | None"

    def _carried(self) -> dict[str, Any]:
        """The attributes that a copy keeps."""
        raise NotImplementedError

    def _require_reset(self) -> None:
        """Tell the server that the env must be reset before any other call."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        """The recipe. Unpickling it starts a new server."""
        if self._recreate is None:
            raise TypeError(f"this {type(self).__name__} was made without a recipe, so it cannot be pickled or copied")
        return self._recreate, (), self._carried()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes that a copy keeps. Blocks for one round trip."""
        self.__dict__.update(state)
        self._require_reset()
