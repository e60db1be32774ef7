"""Checks of single values of envs.toml, and the texts of their errors.

Knows locations (file, key path, folder), types and spellings. Never knows which keys exist or what they are for
(``entry.py``). Python 3.10 and up.

A check takes a value and its location. It returns the value in the form that the program uses, or raises ConfigError.
The same checks serve TOML files and Python keywords, so they also accept tuples, paths and numpy numbers.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from gym_service_launcher.errors import ConfigError
from gym_service_launcher.spelling import listed, suggestion

T = TypeVar("T")

# Seconds; some three years. socket.settimeout overflows above this, and such a number is a typing mistake.
LONGEST_S = 1e8
# A terabyte: more is a mistake in typing.
MAX_MESSAGE_MIB = 2**20
# A slot's size has 40 bits on the wire; no machine that this runs on has as much memory to share.
MAX_ARENA_MIB = 2**20 - 1

ACTIONS = re.compile(r"numpy|(torch|jax)(:[a-z]+(:[0-9]+)?)?")
FRAMES = re.compile("raw|zlib|auto|jpeg:([1-9][0-9]?|100)")
IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# In the order of the checks: True is also an int, and an int is also a Real.
KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    (Integral, "an integer"),
    (Real, "a float"),
    (Mapping, "a table"),
    (list, "a list"),
    (tuple, "a list"),
)


class Location(NamedTuple):
    """Where a value is: the folder that relative paths start from, and the start of error messages about it."""

    file: Path | None
    folder: Path
    owner: str
    key: str = ""

    def at(self, key: object, *, quoted: bool = False) -> "Location":
        """The location of one key below this one."""
        text = str(key)
        if quoted or not BARE_KEY.fullmatch(text):
            text = json.dumps(text, ensure_ascii=False)
        return self._replace(key=f"{self.key}.{text}" if self.key else text)

    def item(self, index: int) -> "Location":
        """The location of one item of the list at this location."""
        return self._replace(key=f"{self.key}[{index}]")

    def error(self, what: str) -> ConfigError:
        """A ConfigError about the value at this location."""
        where = str(self.file) if self.file else self.owner
        file = str(self.file) if self.file else None
        return ConfigError(": ".join(filter(None, (where, self.key, what))), file=file, key=self.key or None)

    def absolute(self, path: str) -> Path:
        """An absolute path, without resolving links: the real path of venv/bin/python is another interpreter."""
        return Path(os.path.normpath(os.path.join(self.folder, os.path.expanduser(path))))


Check = Callable[[Any, Location], Any]
C = TypeVar("C", bound=Callable[..., Any])


def accepts(schema: Mapping[str, Any]) -> Callable[[C], C]:
    """Say in a JSON schema what a check accepts in a TOML file. Each check of a key has one."""

    def mark(check: C) -> C:
        check.schema = dict(schema)  # type: ignore[attr-defined]
        return check

    return mark


def schema_of(check: Check) -> dict[str, Any]:
    """The JSON schema of what a check accepts."""
    return dict(check.schema)  # type: ignore[attr-defined]


TEXT = {"type": "string", "minLength": 1}


def shown(value: object) -> str:
    """A value as TOML writes it, cut to 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind(value: object) -> str:
    return next((words for type_, words in KINDS if isinstance(value, type_)), f"a {type(value).__name__}")


def type_error(value: object, expected: str, location: Location) -> ConfigError:
    return location.error(f"{shown(value)} is {kind(value)}; expected {expected}")


@accepts(TEXT)
def text(value: object, location: Location) -> str:
    if not isinstance(value, str):
        raise type_error(value, "a string", location)
    if not value or "\0" in value:
        raise location.error(f"{shown(value)} {'is empty' if not value else 'contains a NUL character'}")
    return value


def list_of(check: Callable[[Any, Location], T], expected: str) -> Callable[[Any, Location], tuple[T, ...]]:
    @accepts({"type": "array", "items": schema_of(check)})
    def items(value: object, location: Location) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            raise type_error(value, expected, location)
        return tuple(check(item, location.item(index)) for index, item in enumerate(value))

    return items


string_list = list_of(text, "a list of strings")


@accepts({"type": "array", "items": {"type": "string"}})
def argv(value: object, location: Location) -> tuple[str, ...]:
    """A whole ``sys.argv``: the name of the program first. Items may be empty; an empty list is ``[""]``."""
    items = list_of(argument, "a list of strings, the name of the program first")(value, location)
    return items or ("",)


@accepts({"type": "string"})
def argument(value: object, location: Location) -> str:
    if not isinstance(value, str):
        raise type_error(value, "a string", location)
    return text(value, location) if value else ""


@accepts({"type": "object"})
def table(value: object, location: Location) -> dict[str, Any]:
    """A table with string keys and any values."""
    if not isinstance(value, Mapping):
        raise type_error(value, "a table", location)
    for key in value:
        if not isinstance(key, str):
            raise type_error(key, "a string as key", location)
    return dict(value)


@accepts(TEXT)
def path(value: object, location: Location) -> Path:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return location.absolute(text(value, location))


paths = list_of(path, "a list of folders")


def one_or_more(check: Callable[[Any, Location], T], expected: str) -> Callable[[Any, Location], tuple[T, ...]]:
    """A check of a list that also takes a single item."""
    several = list_of(check, expected)

    @accepts({"anyOf": [schema_of(check), schema_of(several)]})
    def items(value: object, location: Location) -> tuple[T, ...]:
        return several(value, location) if isinstance(value, (list, tuple)) else (check(value, location),)

    return items


scripts = one_or_more(path, "a script, or a list of scripts")


@accepts({"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"const": False}]}})
def environ(value: object, location: Location) -> dict[str, str | Literal[False]]:
    """Variables by name: a text, or False to unset one."""
    variables = table(value, location)
    for name, content in variables.items():
        if "=" in text(name, location):
            raise location.at(name).error("the name of an environment variable cannot contain =")
        if content is False:
            continue
        if not isinstance(content, str):
            advice = f"a string, such as {json.dumps(shown(content))}, or false to unset it"
            raise type_error(content, advice, location.at(name))
        if content:
            text(content, location.at(name))
    return variables


@accepts({"type": "number", "exclusiveMinimum": 0})
def seconds(value: object, location: Location) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise type_error(value, "seconds: a number above 0, or inf for no limit", location)
    limit_s = float(value)
    if math.isnan(limit_s) or limit_s <= 0 or LONGEST_S < limit_s < math.inf:
        raise location.error(f"{limit_s:g} is not a time limit; expected seconds above 0, or inf for no limit")
    return limit_s


@accepts({"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_S})
def duration(value: object, location: Location) -> float:
    """How long something is kept, in seconds. Unlike a time limit, it ends."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise type_error(value, "seconds: a number above 0", location)
    kept_s = float(value)
    if not 0 < kept_s <= LONGEST_S:
        raise location.error(f"{kept_s:g} is not a duration; expected seconds above 0, at most {LONGEST_S:.0f}")
    return kept_s


@accepts({"type": "boolean"})
def boolean(value: object, location: Location) -> bool:
    if not isinstance(value, bool):
        raise type_error(value, "true or false", location)
    return value


@accepts({"anyOf": [{"type": "integer", "minimum": 1}, {"const": -1}]})
def step_limit(value: object, location: Location) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise type_error(value, "an integer", location)
    if value < 1 and value != -1:
        raise location.error(f"{value} is not a number of steps; expected 1 or more, or -1 for no limit")
    return int(value)


@accepts({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]})
def worker_count(value: object, location: Location) -> int | Literal["auto"]:
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise type_error(value, 'an integer or "auto"', location)
    if value < 1:
        raise location.error(f"{value} is not a number of workers; expected 1 or more")
    return int(value)


@accepts({"type": "integer", "minimum": 1, "maximum": MAX_MESSAGE_MIB})
def message_size(value: object, location: Location) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise type_error(value, "an integer, in MiB", location)
    if not 1 <= int(value) <= MAX_MESSAGE_MIB:
        raise location.error(f"{value} is not a size of messages; expected 1 to {MAX_MESSAGE_MIB} (MiB)")
    return int(value)


@accepts({"type": "integer", "minimum": 0, "maximum": MAX_ARENA_MIB})
def shared_memory_size(value: object, location: Location) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise type_error(value, "an integer, in MiB", location)
    if not 0 <= int(value) <= MAX_ARENA_MIB:
        raise location.error(f"{value} is not a size of shared memory; expected 0 (none) to {MAX_ARENA_MIB} (MiB)")
    return int(value)


def one_of(*words: str) -> Check:
    expected = " or ".join(json.dumps(word) for word in words)

    @accepts({"enum": list(words)})
    def word(value: object, location: Location) -> str:
        if text(value, location) not in words:
            raise location.error(f"{shown(value)} is not known; expected {expected}")
        return str(value)

    return word


@accepts({"type": "string", "pattern": f"^({FRAMES.pattern})$"})
def frames(value: object, location: Location) -> str:
    """How rendered frames and other images are coded. Whether the server can do it is known once it has started."""
    if not FRAMES.fullmatch(text(value, location)):
        raise location.error(f'{shown(value)} is not known; expected "raw", "zlib", "auto", or "jpeg:1" to "jpeg:100"')
    return str(value)


@accepts({"type": "string", "pattern": f"^({ACTIONS.pattern})$"})
def array_framework(value: object, location: Location) -> str:
    """What actions become in the simulator. Whether it has the framework is known with the first step."""
    if not ACTIONS.fullmatch(text(value, location)):
        raise location.error(f'{shown(value)} is not known; expected "numpy", "torch", "torch:cuda:0" or "jax"')
    return str(value)


@accepts({"type": "string", "pattern": r"^[^:\s]+:[^:\s]+$"})
def import_path(value: object, location: Location) -> str:
    if not IMPORT_PATH.fullmatch(text(value, location)):
        raise location.error(f'{shown(value)} is not an import path; expected "package.module:name"')
    return str(value)


@accepts(
    {
        "anyOf": [
            schema_of(import_path),
            {
                "type": "object",
                "properties": {"wrapper": schema_of(import_path), "kwargs": {"type": "object"}},
                "required": ["wrapper"],
                "additionalProperties": False,
            },
        ]
    }
)
def wrapper(value: object, location: Location) -> str | Callable[..., Any] | dict[str, Any]:
    """``package.module:Wrapper``, or (from Python only) a callable; or a table of one and its keyword arguments."""
    if isinstance(value, Mapping):
        given = read(value, {"wrapper": _callable, "kwargs": table}, location)
        if "wrapper" not in given:
            raise location.error('wrapper is missing; set it to "package.module:Wrapper"')
        return {"kwargs": {}, **given}
    return _callable(value, location)


def _callable(value: object, location: Location) -> str | Callable[..., Any]:
    return value if callable(value) else import_path(value, location)


def read(given: Mapping[str, Any], keys: Mapping[str, Check], location: Location, hint: str = "") -> dict[str, Any]:
    """Check each value of a table with the check of its key. A value of None counts as not given.

    ``hint`` ends the error about an unknown key that resembles none of ``keys``.
    """
    checked = {}
    for key, value in given.items():
        if key not in keys:
            raise location.at(key).error(f"unknown key; {suggestion(key, keys) or hint or listed(keys)}")
        if value is not None:
            checked[key] = keys[key](value, location.at(key))
    return checked
