"""Converts configuration objects in an env's keyword arguments to plain data, if that loses nothing.

Knows dataclasses, OmegaConf's configs, and RLlib's EnvContext by its attributes. Imports neither library. Never knows
the wire. Python 3.10 and up. docs/conversions.md lists the conversions.
"""

import dataclasses
import enum
import sys
from typing import Any

from gym_service.errors import CannotCross

# The attributes of RLlib's EnvContext beside its items. A class with these counts as one, from whatever module.
CONTEXT_SHAPE = ("worker_index", "vector_index")
CONTEXT = (*CONTEXT_SHAPE, "remote", "num_workers", "recreated_worker")
# A dataclass that also derives from one of these holds more than its fields.
CONTAINERS = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex)


def plain_data(value: Any, path: str) -> Any:
    """The value with dicts and lists in place of configurations, at any depth; anything else stays as it is.

    Raises CannotCross if plain data cannot hold a configuration's content. The message says what to pass instead.
    """
    try:
        return _plain(value, path)
    except RecursionError:
        return value  # it contains itself; the encoder refuses it with its path


def _plain(value: Any, path: str) -> Any:
    cls = type(value)
    if cls in (list, tuple):
        parts = [_plain(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return value if all(part is item for part, item in zip(parts, value, strict=True)) else cls(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, enum.Enum)):
        return _of_dataclass(value, path)
    if isinstance(value, dict):
        return _of_dict(value, path)
    library = sys.modules.get("omegaconf")  # imported already if the value is such a config
    if library is not None and library.OmegaConf.is_config(value):
        return _of_omegaconf(library, value, path)
    return value


def _of_dict(value: dict[Any, Any], path: str) -> Any:
    is_context = type(value) is not dict and all(hasattr(value, name) for name in CONTEXT_SHAPE)
    if is_context and any(getattr(value, name, None) for name in CONTEXT):
        # With workers, every worker refuses it, also the first: what works in one must work in all.
        said = ", ".join(f"{name}={getattr(value, name)!r}" for name in CONTEXT if getattr(value, name, None))
        advice = 'dict(config), or {**config, "worker_index": config.worker_index} where the simulator needs that'
        raise _refused(value, path, f"{said} would be lost", advice)
    items = {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
    return value if not is_context and all(items[key] is value[key] for key in items) else items


def _of_dataclass(value: Any, path: str) -> Any:
    names = [field.name for field in dataclasses.fields(value)]
    advice = "a dict of what the simulator needs"
    also = next((cls for cls in CONTAINERS if isinstance(value, cls)), None)
    if also:
        raise _refused(value, path, f"it is a {also.__name__} too", advice)
    slots = (name for cls in type(value).__mro__ for name in _slots(cls) if hasattr(value, name))
    more = sorted({*getattr(value, "__dict__", ()), *slots} - set(names))
    if more:
        raise _refused(value, path, f"{', '.join(more)} is no field of it", advice)
    missing = [name for name in names if not hasattr(value, name)]
    if missing:
        raise _refused(value, path, f"{', '.join(missing)} has no value", advice)
    return {name: _plain(getattr(value, name), f"{path}.{name}") for name in names}


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _of_omegaconf(library: Any, value: Any, path: str) -> Any:
    try:
        return _plain(library.OmegaConf.to_container(value, resolve=True, throw_on_missing=True), path)
    except library.errors.OmegaConfBaseException as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        advice = "a value for what is missing, or OmegaConf.to_container(config) of a part"
        raise _refused(value, path, reason, advice) from error


def _refused(value: Any, path: str, reason: str, advice: str) -> CannotCross:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    text = f"{path} is a {name}, which cannot cross as plain data: {reason}\n  try: {advice}"
    return CannotCross(text, path=path, type_name=name)
