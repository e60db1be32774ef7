"""``plugged/Plugged-v0``: registered on import, and by an entry point that only older versions of Gymnasium read."""

import arms
import gymnasium


def register_envs():
    """Register the ids."""


gymnasium.register("plugged/Plugged-v0", arms.Reach)
