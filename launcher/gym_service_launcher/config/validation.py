"""How one value of envs.toml is checked, and how a mistake in it is worded.

Knows places (file, key path, folder), types and spellings. Never knows which keys there are or what
they are for: that is ``config``. Python 3.10 and up.

A check is a function of a value and its place that returns the value as the program wants it, or
raises the ConfigError. The same checks serve a TOML file and keywords given in Python, so they also
take what only Python has: tuples, paths and numbers of numpy.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from gym_service_launcher.errors import ConfigError
from gym_service_launcher.spelling import listed, suggestion

T = TypeVar("T")

# Beyond this socket.settimeout overflows; three years is a typing mistake, `inf` a decision.
LONGEST_S = 1e8

ADDRESS = re.compile(r"unix:///.+|tcp://(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
SSH_URL = re.compile(
    r"ssh://(?P<destination>(?:[^\s@:/-][^\s@:/]*@)?(?:[^\s@:/\[\]-][^\s@:/\[\]]*|\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]))"
    r"(?::(?P<port>\d{1,5}))?/(?P<path>.+)"
)
FRAMES = re.compile("raw|zlib|auto|jpeg:([1-9][0-9]?|100)")
IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
FINGERPRINT = re.compile("[0-9a-f]{64}")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# In the order of the question: True is an int too, and an int is a Real.
KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    (Integral, "an integer"),
    (Real, "a float"),
    (Mapping, "a table"),
    (list, "a list"),
    (tuple, "a list"),
)


@dataclass(frozen=True)
class Location:
    """Where a value stands: what its relative paths are relative to, and how its mistakes begin."""

    file: Path | None
    folder: Path
    owner: str
    key: str = ""

    def at(self, key: object, *, quoted: bool = False) -> "Location":
        """The place of one key below this one."""
        text = str(key)
        if quoted or not BARE_KEY.fullmatch(text):
            text = json.dumps(text, ensure_ascii=False)
        return replace(self, key=f"{self.key}.{text}" if self.key else text)

    def item(self, index: int) -> "Location":
        """The place of one item of the list that stands here."""
        return replace(self, key=f"{self.key}[{index}]")

    def error(self, what: str) -> ConfigError:
        """The error that says what is wrong with the value that stands here."""
        where = str(self.file) if self.file else self.owner
        file = str(self.file) if self.file else None
        return ConfigError(": ".join(filter(None, (where, self.key, what))), file=file, key=self.key or None)

    def absolute(self, path: str) -> Path:
        """Lexically: the real path of venv/bin/python would be another interpreter."""
        return Path(os.path.normpath(os.path.join(self.folder, os.path.expanduser(path))))


Check = Callable[[Any, Location], Any]


def shown(value: object) -> str:
    """A value as TOML spells it, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind(value: object) -> str:
    return next((words for type_, words in KINDS if isinstance(value, type_)), f"a {type(value).__name__}")


def type_error(value: object, expected: str, location: Location) -> ConfigError:
    return location.error(f"{shown(value)} is {kind(value)}; expected {expected}")


def text(value: object, location: Location) -> str:
    if not isinstance(value, str):
        raise type_error(value, "a string", location)
    if not value or "\0" in value:
        raise location.error(f"{shown(value)} is {'empty' if not value else 'no text: it holds a NUL'}")
    return value


def list_of(check: Callable[[Any, Location], T], expected: str) -> Callable[[Any, Location], tuple[T, ...]]:
    def items(value: object, location: Location) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            raise type_error(value, expected, location)
        return tuple(check(item, location.item(index)) for index, item in enumerate(value))

    return items


string_list = list_of(text, "a list of strings")


def table(value: object, location: Location) -> dict[str, Any]:
    """A table with whatever below it; its keys are strings."""
    if not isinstance(value, Mapping):
        raise type_error(value, "a table", location)
    for key in value:
        if not isinstance(key, str):
            raise type_error(key, "a string as key", location)
    return dict(value)


def path(value: object, location: Location) -> Path:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return location.absolute(text(value, location))


paths = list_of(path, "a list of folders")


def python(value: object, location: Location) -> str:
    """A version, ``conda:NAME``, a command or an ssh:// address as it stands; a path made absolute."""
    if isinstance(value, os.PathLike):
        return str(path(value, location))
    if isinstance(value, Real) and not isinstance(value, bool):
        # Unquoted, 3.10 is the number 3.1: the value cannot be quoted back.
        raise type_error(value, 'a string: put a version in quotes, such as "3.10"', location)
    name = text(value, location)
    if name.startswith("ssh:"):
        return ssh_url(name, location)
    if ("/" in name and not name.startswith("conda:")) or name[0] in ".~":
        return str(location.absolute(name))
    return name


def ssh_url(value: str, location: Location) -> str:
    match = SSH_URL.fullmatch(value)
    if not match or int(match["port"] or 1) not in range(1, 65536):
        raise location.error(f"{shown(value)} is no address; expected ssh://user@host:port/path/to/venv")
    return value


def remote_python(value: object, location: Location) -> str:
    """What an interpreter is called at the other end of a command: nothing of it is looked for on this machine."""
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if "/" in path else f"./{path}"
    name = python(value, location) if isinstance(value, Real) else text(value, location)
    if name.startswith("ssh:"):
        return ssh_url(name, location)
    if name.startswith("conda:"):
        raise location.error(
            f"{shown(name)} is looked for on this machine; expected the path of its bin/python over there"
        )
    return name


def remote_path(value: object, location: Location) -> Path:
    """A path of another machine: what it is relative to, and whose home ``~`` is, is found out there."""
    return Path(text(os.fspath(value) if isinstance(value, os.PathLike) else value, location))


remote_paths = list_of(remote_path, "a list of folders")


def environ(value: object, location: Location) -> dict[str, str]:
    variables = table(value, location)
    for name, content in variables.items():
        if "=" in text(name, location):
            raise location.at(name).error("the name of an environment variable holds no =")
        if not isinstance(content, str):
            raise type_error(content, f"a string, such as {json.dumps(shown(content))}", location.at(name))
        if content:
            text(content, location.at(name))
    return variables


def seconds(value: object, location: Location) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise type_error(value, "seconds: a number above 0, or inf for no limit", location)
    limit_s = float(value)
    if math.isnan(limit_s) or limit_s <= 0 or LONGEST_S < limit_s < math.inf:
        raise location.error(f"{limit_s:g} is no limit; expected seconds above 0, or inf for no limit")
    return limit_s


def boolean(value: object, location: Location) -> bool:
    if not isinstance(value, bool):
        raise type_error(value, "true or false", location)
    return value


def step_limit(value: object, location: Location) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise type_error(value, "an integer", location)
    if value < 1 and value != -1:
        raise location.error(f"{value} is no number of steps; expected 1 or more, or -1 for no limit")
    return int(value)


def worker_count(value: object, location: Location) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise type_error(value, "an integer", location)
    if value < 1:
        raise location.error(f"{value} is no number of workers; expected 1 or more")
    return int(value)


def one_of(*words: str) -> Check:
    expected = " or ".join(json.dumps(word) for word in words)

    def word(value: object, location: Location) -> str:
        if text(value, location) not in words:
            raise location.error(f"{shown(value)} is not known; expected {expected}")
        return str(value)

    return word


def frames(value: object, location: Location) -> str:
    """How pictures travel; what of it a server can do, it says itself."""
    if not FRAMES.fullmatch(text(value, location)):
        raise location.error(f'{shown(value)} is not known; expected "raw", "zlib", "auto", or "jpeg:1" to "jpeg:100"')
    return str(value)


def address(value: object, location: Location) -> str:
    match = ADDRESS.fullmatch(text(value, location))
    if not match or int(match["port"] or 1) not in range(1, 65536):
        raise location.error(f"{shown(value)} is no address; expected unix:///path or tcp://host:port")
    return str(value)


def fingerprint(value: object, location: Location) -> str:
    """A SHA-256 as openssl prints it, with its colons and "sha256 Fingerprint=", or as its digits alone."""
    digits = text(value, location).rpartition("=")[2].replace(":", "").strip().lower()
    if not FINGERPRINT.fullmatch(digits):
        expected = "64 hex digits, as gym-service run prints them"
        raise location.error(f"{shown(value)} is no SHA-256 of a certificate; expected {expected}")
    return digits


def import_path(value: object, location: Location) -> str:
    if not IMPORT_PATH.fullmatch(text(value, location)):
        raise location.error(f'{shown(value)} points at nothing; expected "package.module:name"')
    return str(value)


def wrapper(value: object, location: Location) -> str | Callable[..., Any]:
    """``package.module:Wrapper``, or from Python the callable itself."""
    return value if callable(value) else import_path(value, location)


def read(given: Mapping[str, Any], keys: Mapping[str, Check], location: Location, hint: str = "") -> dict[str, Any]:
    """Each value of a table through the check of its key. None, which only Python has, means: not said.

    ``hint`` ends the error about an unknown key that resembles none of ``keys``.
    """
    checked = {}
    for key, value in given.items():
        if key not in keys:
            raise location.at(key).error(f"unknown key; {suggestion(key, keys) or hint or listed(keys)}")
        if value is not None:
            checked[key] = keys[key](value, location.at(key))
    return checked
