"""The place of ``make`` in earlier versions. Specs, data sets and pickles that those have saved name it.

Knows where the functions are today. Client only; Python 3.10 and up. Nothing of ours imports this.
"""

from typing import Any

from gym_service.factory.make import make, make_registered, make_registered_vector, make_vec, use

__all__ = ["make", "make_registered", "make_registered_vector", "make_vec", "use"]


def _remake(env_id: str, given: dict[str, Any]) -> Any:
    """What an env was pickled as that ``make`` had made."""
    return make(env_id, **given)


def _remake_registered(entry: str, config: str, service: Any, host: Any, port: Any, kwargs: Any) -> Any:
    """What an env was pickled as that ``gym.make`` had made."""
    return make_registered(entry=entry, config=config, service=service, host=host, port=port, **kwargs)
