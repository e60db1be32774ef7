"""Written for the old gym."""

from gymnasium.wrappers import Monitor  # noqa: F401
