"""Keeps old specs, data sets and pickles working: version 0.1 saved the path ``gym_service.registration`` in them.

Knows where the functions are today. Client only; Python 3.10 and up. Nothing else of ours imports this module.
"""

from typing import Any

from gym_service.factory.make import make, make_registered, make_registered_vector, make_vec, use

__all__ = ["make", "make_registered", "make_registered_vector", "make_vec", "use"]


def _remake(env_id: str, given: dict[str, Any]) -> Any:
    """What version 0.1 pickled for an env that ``make`` had made."""
    return make(env_id, **given)


def _remake_registered(entry: str, config: str, service: Any, host: Any, port: Any, kwargs: Any) -> Any:
    """What version 0.1 pickled for an env that ``gym.make`` had made."""
    return make_registered(entry=entry, config=config, service=service, host=host, port=port, **kwargs)
