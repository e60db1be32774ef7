"""Registers our ids in Gymnasium's registry.

Knows the registry, and gets full ids. Never knows envs.toml, nor our namespace. Client only; Python 3.10 and up.
Imports Gymnasium, so ``make.py`` imports this late.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec, registry
from gymnasium.error import Error as GymnasiumError

# What gym.make and gym.make_vec call. They are strings, because specs are pickled and saved as JSON. Saved specs and
# data sets contain them, so they are an interface: short, and never moved again.
ENTRY_POINT = "gym_service:make_registered"
VECTOR_ENTRY_POINT = "gym_service:make_registered_vector"
# Specs that version 0.1 saved contain these; ``gym_service/registration.py`` keeps them working.
EARLIER_ENTRY_POINTS = ("gym_service.registration:make_registered",)


def replace_registered(ids: Mapping[str, str], file: Path | None) -> list[str]:
    """Register ids in place of those registered before. Return the ids that Gymnasium accepts.

    Args:
        ids: maps a full id, such as ``gym_service/PushT-v0``, to its key in the file.
        file: the envs.toml.
    """
    ours = (ENTRY_POINT, *EARLIER_ENTRY_POINTS)
    for old in [old for old, found in registry.items() if found.entry_point in ours]:
        del registry[old]
    return [env_id for full_id, key in ids.items() if (env_id := _register(full_id, key, file))]


def _register(env_id: str, key: str, file: Path | None) -> str | None:
    """Register one id; None if Gymnasium cannot look it up ("ALE/Pong-v5").

    It does not use ``gymnasium.register``, which refuses an id beside a versioned one of the same name, warns about an
    id that is registered again, and renames ids while Gymnasium 0.29 loads a plugin. The spec has no time limit and no
    checkers, because ``gym.make`` in the simulator's interpreter applies them.
    """
    kwargs = {"entry": key, "config": str(file)}
    found = make_spec(env_id, kwargs)
    if found is None:
        return None
    registry[found.id] = found
    return found.id


def make_spec(
    env_id: str,
    kwargs: dict[str, Any],
    entry_point: str = ENTRY_POINT,
    vector_entry_point: str | None = VECTOR_ENTRY_POINT,
) -> EnvSpec | None:
    """A spec that makes an env of ours; None if Gymnasium does not accept the id."""
    try:
        return EnvSpec(
            env_id,
            entry_point=entry_point,
            vector_entry_point=vector_entry_point,
            max_episode_steps=None,
            order_enforce=False,
            disable_env_checker=True,
            kwargs=kwargs,
        )
    except GymnasiumError:
        return None
