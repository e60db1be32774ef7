"""Keyword arguments of an env that are configurations of a library: as plain data where that loses nothing.

Knows dataclasses, OmegaConf and RLlib's EnvContext, by name: it imports none of them. Never knows the wire. Python 3.10
and up. docs/values.md lists what is converted.
"""

import dataclasses
import sys
from typing import Any

from gym_service.errors import CannotCross

ENV_CONTEXT = "ray.rllib.env.env_context.EnvContext"


def plain_data(value: Any, path: str) -> Any:
    """The value with dicts and lists in the place of configurations, at any depth; anything else is left as it is.

    Raises CannotCross where a configuration holds what plain data does not. The text says what to pass instead.
    """
    try:
        return _plain(value, path)
    except RecursionError:
        return value  # it contains itself: the encoder refuses it, and says where


def _plain(value: Any, path: str) -> Any:
    cls = type(value)
    if cls is dict:
        items = {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
        return value if all(items[key] is value[key] for key in value) else items
    if cls in (list, tuple):
        parts = [_plain(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return value if all(part is item for part, item in zip(parts, value, strict=True)) else cls(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _of_dataclass(value, path)
    if cls.__module__.partition(".")[0] == "omegaconf":
        return _of_omegaconf(value, path)
    if f"{cls.__module__}.{cls.__qualname__}" == ENV_CONTEXT:
        advice = "dict(config), and config.worker_index and the like as keywords of their own where they are needed"
        raise _refused(value, path, "its worker_index and vector_index are no items", advice)
    return value


def _of_dataclass(value: Any, path: str) -> Any:
    names = [field.name for field in dataclasses.fields(value)]
    more = sorted(set(getattr(value, "__dict__", ())) - set(names))
    if more:
        raise _refused(value, path, f"{', '.join(more)} is no field of it", "a dict of what the simulator needs")
    return {name: _plain(getattr(value, name), f"{path}.{name}") for name in names}


def _of_omegaconf(value: Any, path: str) -> Any:
    library = sys.modules["omegaconf"]
    omegaconf = library.OmegaConf
    if not omegaconf.is_config(value):
        return value
    try:
        return _plain(omegaconf.to_container(value, resolve=True, throw_on_missing=True), path)
    except library.errors.OmegaConfBaseException as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        advice = "a value for what is missing, or OmegaConf.to_container(config) of a part"
        raise _refused(value, path, reason, advice) from error


def _refused(value: Any, path: str, reason: str, advice: str) -> CannotCross:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    text = f"{path} is a {name}, which cannot cross as plain data: {reason}\n  try: {advice}"
    return CannotCross(text, path=path, type_name=name)
