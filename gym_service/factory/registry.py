"""Our ids in Gymnasium's registry.

Knows the registry. Never knows what stands in an envs.toml. Client only; Python 3.10 and up. Imports Gymnasium, which
is why ``make.py`` imports this late.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec, registry
from gymnasium.error import Error as GymnasiumError

from gym_service.factory.make import NAMESPACE

# What gym.make and gym.make_vec call; texts, since a spec goes to pickles and to JSON.
ENTRY_POINT = "gym_service.factory.make:make_registered"
VECTOR_ENTRY_POINT = "gym_service.factory.make:make_registered_vector"


def replace_registered(keys: Iterable[str], file: Path | None) -> list[str]:
    """Put the keys of an envs.toml into the registry, in place of those that were put there before; gives the ids."""
    for old in [old for old, found in registry.items() if found.entry_point == ENTRY_POINT]:
        del registry[old]
    return [env_id for key in keys if (env_id := _register(key, file))]


def _register(key: str, file: Path | None) -> str | None:
    """Put one id into Gymnasium's registry; None where Gymnasium could never be asked for it ("ALE/Pong-v5").

    Past ``gymnasium.register``: that refuses an id beside a versioned one of the same name, warns when an id comes
    again, and renames it while a plugin of 0.29 is being loaded. The simulator's own ``gym.make`` has put on its time
    limit and its checks of order and spaces: not twice.
    """
    kwargs = {"entry": key, "config": str(file)}
    found = make_spec(f"{NAMESPACE}/{key}", kwargs)
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
    """A spec that makes an env of ours; None where Gymnasium cannot take the id."""
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
