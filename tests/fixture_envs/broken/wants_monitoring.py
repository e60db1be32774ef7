"""Written for the old gym."""

import gymnasium.wrappers.monitoring  # noqa: F401
