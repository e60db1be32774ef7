"""Copies and pickles of remote envs: another server makes the same env, and the copy needs a reset before a step.

Knows recipes as callables. Never knows how a server is started. Python 3.10 and up.
"""

from collections.abc import Callable
from typing import Any


class CopiedByRecipe:
    """An env that is pickled, copied and spawned as the callable that makes it again.

    The simulator's state stays where it is, so a copy is a new env that was never reset: until it is, its ``step`` and
    ``render`` raise ResetNeeded, also where the simulator itself would not mind.
    """

    _recreate: "Callable[[], Any] | None"

    def _carried(self) -> dict[str, Any]:
        """The attributes that a copy takes over."""
        raise NotImplementedError

    def _require_reset(self) -> None:
        """Tell the server that the env is to be reset before anything else."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        """The recipe. Where it is taken up, a new server is started."""
        if self._recreate is None:
            raise TypeError(f"this {type(self).__name__} was made without a recipe, so it cannot be pickled or copied")
        return self._recreate, (), self._carried()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what a copy takes over. Blocks for one round trip."""
        self.__dict__.update(state)
        self._require_reset()
