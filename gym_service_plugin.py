"""What Gymnasium 0.29 calls while it is being imported, through the entry point ``gymnasium.envs``.

Gymnasium 1.0 and newer call no such thing: there ``import gym_service`` registers the ids. A module of its own, outside
the package, because loading an entry point is not guarded there: an exception would make ``import gymnasium`` fail.
"""

import importlib


def register_envs() -> None:
    """Register the ids of envs.toml, or nothing at all."""
    try:
        importlib.import_module("gym_service")
    except Exception:  # noqa: BLE001 - whatever is wrong is said when gym_service is imported or an id of it is made
        pass
