"""Values that differ between the envs of a vector env: ``{index}``, ``{worker}`` and ``{num_envs}`` in an entry.

Knows the form of these placeholders. Never knows what a value is for. Python 3.10 and up.

A text that is one placeholder becomes an int, so that ``port = "{index+5000}"`` is a number. ``{{index}}`` is the text
``{index}``. Braces around anything else are text: formats and JSON in values stay as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError

# An escaped placeholder, a placeholder, or what was meant to be one.
PLACEHOLDER = re.compile(
    r"\{\{(?P<escaped>(?:index|worker|num_envs)(?:[+-]\d+)?)\}\}"
    r"|\{(?P<name>index|worker|num_envs)(?P<added>[+-]\d+)?\}"
    r"|(?P<mistake>\{(?:index|worker|num_envs)\b[^{}\"':]*\})",
    re.ASCII,
)


@dataclass(frozen=True)
class Place:
    """Which env of a vector env a value is for. A single env is the first of one."""

    index: int = 0
    worker: int = 0
    num_envs: int = 1


def only_place(entry: Entry, kwargs: Mapping[str, Any]) -> Place:
    """The place of a single env, or of a simulator that makes all envs itself: ``{num_envs}`` is what it is told.

    Raises ConfigError where the latter has a value for each env, since it gets all values once, or ``{num_envs}`` while
    it chooses the number itself.
    """
    if not entry.vectorized:
        return Place()
    number = kwargs.get(entry.num_envs_key)
    for key, value in _values(entry, kwargs):
        if differs(value):
            text = "{index} has no value here, since the simulator makes all envs in one process"
            raise _mistake(entry, key, f"{text}\n  try: {{num_envs}}, or leave vectorized out")
        if type(number) is not int and differs(value, "num_envs"):
            text = f"{{num_envs}} has no value here, since {entry.num_envs_key} is not given"
            raise _mistake(entry, key, f"{text}\n  try: gym.make_vec with num_envs, or the number itself")
    return Place(num_envs=number if type(number) is int else 1)


def refuse_vector_env(entry: Entry, kwargs: Mapping[str, Any]) -> None:
    """Raise ConfigError where a value was filled as for a single env, and the simulator is a vector env after all.

    ``{worker}`` stays: all envs of the simulator are in one process, the first.
    """
    if entry.vectorized:
        return  # only_place has checked them
    for key, value in _values(entry, kwargs):
        for name, advice in (("index", "leave {index} out"), ("num_envs", "vectorized = true, or the number itself")):
            if differs(value, name):
                text = f"{{{name}}} was filled in as for a single env, but the simulator is a vector env"
                raise _mistake(entry, key, f"{text}\n  try: {advice}")


def filled(value: Any, place: Place, key: str) -> Any:
    """A value with its placeholders filled in, in dicts, lists and tuples at any depth; the very value without any.

    Raises ConfigError, which names ``key``, where a placeholder is not a valid one.
    """
    if not _texts(value):
        return value
    if type(value) is str:
        return _filled_text(value, place, key)
    if type(value) is dict:
        return {name: filled(item, place, f"{key}.{name}") for name, item in value.items()}
    return type(value)(filled(item, place, f"{key}[{at}]") for at, item in enumerate(value))


def differs(value: Any, by: str = "index") -> bool:
    """Whether a value holds this placeholder. One with ``{index}`` is another one for each env of one worker."""
    return any(found["name"] == by for text in _texts(value) for found in PLACEHOLDER.finditer(text))


def entry_at(entry: Entry, place: Place) -> Entry:
    """The entry with ``environ`` as its server gets it. The fork server of another environ is another one."""
    environ = {
        name: str(filled(value, place, f"environ.{name}")) if isinstance(value, str) else value
        for name, value in entry.environ.items()
    }
    return entry if environ == entry.environ else replace(entry, environ=environ)


def recipe_at(recipe: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The recipe of one env."""
    return {**recipe, **{key: filled(recipe[key], place, key) for key in ("kwargs", "wrappers")}}


def refuse_shared(entry: Entry) -> None:
    """Raise ConfigError where ``environ`` has a value for each env: several envs of one worker have one process."""
    for name, value in entry.environ.items():
        if differs(value):
            text = "{index} needs a worker for each env, since environ is that of a process"
            text += "\n  try: workers = the number of envs; or {worker}, which counts the processes"
            raise _mistake(entry, f"environ.{name}", text)


def _values(entry: Entry, kwargs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The values that may hold placeholders, by the key that they are given with."""
    return ("environ", dict(entry.environ)), ("wrappers", entry.wrappers), ("kwargs", dict(kwargs))


def _mistake(entry: Entry, key: str, text: str) -> ConfigError:
    where = str(entry.file) if entry.file else f'given in Python for "{entry.name}"'
    return ConfigError(f"{where}: {key}: {text}", file=str(entry.file) if entry.file else None, key=key)


def _texts(value: Any) -> list[str]:
    """The texts in a value that hold a placeholder. None in one that contains itself: the encoder refuses it."""
    try:
        return _texts_in(value)
    except RecursionError:
        return []


def _texts_in(value: Any) -> list[str]:
    if type(value) is str:
        return [value] if PLACEHOLDER.search(value) else []
    items = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return [text for item in items for text in _texts_in(item)]


def _filled_text(text: str, place: Place, key: str) -> str | int:
    def one(found: re.Match[str]) -> str:
        if found["mistake"]:
            expected = "expected {index}, {worker} or {num_envs}, perhaps with a number, such as {index+5000}"
            raise ConfigError(f"{key}: {found['mistake']} is not a placeholder; {expected}", file=None, key=key)
        return f"{{{found['escaped']}}}" if found["escaped"] else str(_number(found, place))

    whole = PLACEHOLDER.fullmatch(text)
    return _number(whole, place) if whole and whole["name"] else PLACEHOLDER.sub(one, text)


def _number(found: re.Match[str], place: Place) -> int:
    return int(getattr(place, found["name"])) + int(found["added"] or 0)
