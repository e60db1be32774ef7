"""A method of the simulator as an attribute of the env on this side, and the names of all attributes there.

Knows ``RemoteEnv.call`` and nothing else of an env. Python 3.10 and up.
"""

from collections.abc import Callable
from typing import Any

import gymnasium.error

from gym_service.errors import GymServiceError

# The private names of Gymnasium's own envs and wrappers. Its wrappers and checkers, and training libraries, read them.
GYMNASIUMS_PRIVATE = {"_np_random", "_np_random_seed", "_max_episode_steps"}


class RemoteMethod:
    """A method of the simulator: calling it runs it there."""

    def __init__(self, env: Any, name: str) -> None:
        self._env = env
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``env.call(name, …)``."""
        return self._env.call(self.__name__, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self.__name__} of {self._env!r}>"


def public_names(ask: Callable[[], Any]) -> set[str]:
    """The simulator's public names; empty if it cannot answer now, since dir() must not raise."""
    try:
        return {name for name in ask() if type(name) is str}
    except (GymServiceError, gymnasium.error.Error, TypeError):
        return set()


def is_private(name: str) -> bool:
    """Whether a name that is asked for is the simulator's, and never one that this side's env keeps to itself."""
    return name.startswith("_") and not name.startswith("__") and name not in GYMNASIUMS_PRIVATE
