"""The plugin that Gymnasium 0.28 and 0.29 load during ``import gymnasium``, through the entry point ``gymnasium.envs``.

Gymnasium 1.0 and newer load no plugins: there ``import gym_service`` registers the ids. This module is outside of the
package, because Gymnasium does not guard the loading of an entry point: an exception would make its import fail.
"""

import importlib


def register_envs() -> None:
    """Register the ids of envs.toml. Never raises."""
    try:
        importlib.import_module("gym_service")
    except Exception:  # noqa: BLE001 - importing gym_service or making an id of it raises it again
        pass
