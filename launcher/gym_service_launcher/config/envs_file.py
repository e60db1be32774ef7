"""Finds and reads envs.toml.

Knows the two sections of the file, and which file is used. Never knows what the keys of an entry mean (``entry.py``).
Python 3.10 and up.

A broken entry becomes its ConfigError. The other entries stay usable.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from gym_service_launcher import spelling, user_dirs
from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import validation
from gym_service_launcher.config.entry import Entry, Interpreter
from gym_service_launcher.config.validation import Location
from gym_service_launcher.config.venv_keys import refuse_useless
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.standalone import interrupts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

SECTIONS = ("envs", "interpreters")
# Of a line that is no TOML.
SHOWN_LINE_CHARS = 80
NAMESPACE = "gym_service/"


class EnvsFile(NamedTuple):
    """The content of one envs.toml, in the order of the file.

    ``problems`` are the mistakes outside of entries, such as an unknown table. ``used_interpreters`` are those that an
    entry names, also one with a mistake.
    """

    path: Path
    entries: dict[str, Entry | ConfigError]
    interpreters: Mapping[str, Interpreter | ConfigError] = MappingProxyType({})
    problems: tuple[ConfigError, ...] = ()
    used_interpreters: frozenset[str] = frozenset()


def find() -> Path | None:
    """Find the envs.toml to use; None if there is none.

    The order: ``$GYM_SERVICE_ENVS``; ``envs.toml`` in the working directory and in each parent folder; and
    ``gym-service/envs.toml`` in ``$XDG_CONFIG_HOME`` or ``~/.config``.

    Raises:
        ConfigError: ``$GYM_SERVICE_ENVS`` does not name a file.
    """
    named = os.environ.get("GYM_SERVICE_ENVS")
    if named:
        file = Path(os.path.abspath(os.path.expanduser(named)))
        if not os.path.isfile(file):
            state = "is a folder, not a file" if os.path.isdir(file) else "does not exist"
            raise ConfigError(f"{file}: {state} ($GYM_SERVICE_ENVS names it)", file=str(file), key=None)
        return file
    return next((file for file in candidates() if os.path.isfile(file)), None)


def candidates() -> list[Path]:
    """The files that are looked for, in this order, unless ``$GYM_SERVICE_ENVS`` names one."""
    here = user_dirs.working()
    upward = [here, *here.parents] if here else []
    return [folder / "envs.toml" for folder in upward] + [user_dirs.configuration() / "envs.toml"]


def looked_at() -> str:
    """The lines of an error that say where an envs.toml was looked for."""
    return "\n  looked at:\n" + "\n".join(f"    {file}" for file in candidates())


def find_or_fail() -> Path:
    """As ``find``; where there is none, a ConfigError."""
    file = find()
    if file is None:
        text = f"there is no envs.toml in this folder, in a parent folder or in ~/.config/gym-service{looked_at()}"
        raise ConfigError(f"{text}\n  try: gym-service init, which writes one, or --envs FILE", file=None, key="")
    return file


def problems_outside_entries(file: EnvsFile) -> list[ConfigError]:
    """The mistakes of a file that no entry shows: unknown tables, and interpreters that are broken and unused."""
    shown = list(file.entries.values())
    broken = [found for found in file.interpreters.values() if isinstance(found, ConfigError)]
    return [problem for problem in (*file.problems, *broken) if not any(problem is one for one in shown)]


def unused_interpreters(file: EnvsFile) -> list[str]:
    """A line for each interpreter that no entry names."""
    unused = [name for name in file.interpreters if name not in file.used_interpreters]
    return [f'[interpreters.{name}] is not used: no entry has interpreter = "{name}"' for name in unused]


def unknown_entry(file: EnvsFile, name: str) -> ConfigError:
    """The error for a name that the file does not have. It says which names there are."""
    known = ", ".join(file.entries) or "none"
    near = spelling.nearest(name, file.entries)
    advice = f"{near!r}" if near else f'python="./sim_env" (a venv), or a table [envs."{name}"] in that file'
    also = "".join(f"\n  and {problem}" for problem in file.problems[:1])
    text = f"{file.path}: [envs] has no key {name!r}; it has: {known}{also}\n  try: {advice}"
    return ConfigError(text, file=str(file.path), key=f'envs."{name}"')


def load(path: str | os.PathLike[str]) -> EnvsFile:
    """Read an envs.toml. Mistakes in its content do not raise: they are part of the result.

    Raises:
        ConfigError: the file does not exist or cannot be read.
    """
    file = Path(os.path.abspath(os.path.expanduser(path)))
    location = Location(file, file.parent, str(file))
    try:
        content = file.read_bytes()
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise location.error(f"cannot be read: {error.strerror}") from error
    try:
        tables = parse(content, location)
    except ConfigError as error:
        return EnvsFile(file, dict.fromkeys(_header_ids(content), error), problems=(error,))
    return _envs_file(file, tables, location)


def _envs_file(file: Path, tables: dict[str, Any], location: Location) -> EnvsFile:
    problems: list[ConfigError] = []
    at = location.at("interpreters")
    interpreters = _each(
        _section(tables, "interpreters", location, problems),
        lambda name, table: _read_interpreter(table, at.at(name)),
    )
    entries = _each(
        _section(tables, "envs", location, problems),
        lambda name, table: _named(name, table, file, interpreters, location),
    )
    for key in [key for key in tables if key not in SECTIONS]:
        hint = spelling.suggestion(key, SECTIONS) or spelling.listed(SECTIONS)
        problems.append(location.at(key).error(f"unknown key; {hint}"))
        if spelling.nearest(key, SECTIONS) == "envs" and isinstance(tables[key], dict):
            # Users will ask for the ids below a misspelt [envs.…]: each of them gets this error.
            for name in tables[key]:
                entries.setdefault(name, problems[-1])
    named = (table.get("interpreter") for table in _tables(tables.get("envs")))
    used = frozenset(name for name in named if isinstance(name, str))
    return EnvsFile(file, entries, interpreters, tuple(problems), used)


def _tables(section: Any) -> list[dict[str, Any]]:
    return [table for table in section.values() if isinstance(table, dict)] if isinstance(section, dict) else []


def _section(tables: dict[str, Any], key: str, location: Location, problems: list[ConfigError]) -> dict[str, Any]:
    try:
        return validation.table(tables.get(key, {}), location.at(key))
    except ConfigError as error:
        problems.append(error)
        return {}


def _each(tables: dict[str, Any], read: Callable[[str, Any], T]) -> dict[str, T | ConfigError]:
    done: dict[str, T | ConfigError] = {}
    for name, table in tables.items():
        try:
            done[name] = read(name, table)
        except ConfigError as error:
            done[name] = error
    return done


def _named(
    name: str, table: Any, file: Path, interpreters: Mapping[str, Interpreter | ConfigError], location: Location
) -> Entry:
    here = location.at("envs").at(name, quoted=True)
    if re.fullmatch(NAMESPACE + r"[\w.-]+", name):
        own = name.removeprefix(NAMESPACE)
        raise here.error(f'{NAMESPACE} is put in front by gym.make and is no part of the key; write [envs."{own}"]')
    if not re.fullmatch(r"[\w.-]+", name):
        own = json.dumps(re.sub(r"[^\w.-]+", "-", name) or "Name-v0", ensure_ascii=False)
        real = json.dumps(name or "Name-v0", ensure_ascii=False)
        raise here.error(
            "the key is your own name for the env; it may have letters, digits, and - _ . only; "
            f"write [envs.{own}] with id = {real}"
        )
    return entries.entry(name, validation.table(table, here), file=file, interpreters=interpreters)


def _read_interpreter(table: Any, location: Location) -> Interpreter:
    given = validation.read(validation.table(table, location), entries.INTERPRETER_KEYS, location)
    if "python" not in given:
        raise location.error('python is missing; set it to "./sim_env" (a venv), "3.10" or "conda:NAME"')
    made = Interpreter(**given)
    refuse_useless(made, location)
    return made


def parse(content: bytes, location: Location) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError with line and column."""
    try:
        text = content.decode("utf-8-sig")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        where = _position(content[: error.start].decode("utf-8"))
        raise location.error(f"invalid TOML: it is not UTF-8 (at {where})") from error
    except (ValueError, RecursionError) as error:  # also ValueError: int() refuses a number of 5000 digits
        raise location.error(f"invalid TOML: {_explained(str(error), text)}") from error


# What to try, by the words of the parser.
TOML_ADVICE = {
    "Invalid value": 'a text stands in straight quotes, such as id = "CartPole-v1"; numbers, true and false in none',
    "overwrite a value": "the key stands there twice: keep one of the two",
    "twice": "the table stands there twice: keep one of the two, or give the second another name",
    "Cannot redefine": "the table stands there twice: keep one of the two, or give the second another name",
    "Expected newline or end of document after a statement": "one key in each line; a # begins a comment",
    "Illegal character '\\n'": "a closing quotation mark, which this line lacks",
    "Unescaped": "a backslash is written \\\\, or the text stands in single quotes",
}


def _explained(what: str, text: str) -> str:
    """The parser's words, the line that they are about, and what to try."""
    advice = next((advice for words, advice in TOML_ADVICE.items() if words in what), "")
    at = re.search(r"\(at line (\d+), column \d+\)", what)
    line = text.split("\n")[int(at[1]) - 1].strip()[:SHOWN_LINE_CHARS] if at else ""
    what = what.replace("at end of document", f"at {_position(text)}, the end of the file")
    return what + (f": {line}" if line else "") + (f"\n  try: {advice}" if advice else "")


def _position(before: str) -> str:
    lines = before.split("\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}"


def _header_ids(content: bytes) -> list[str]:
    """The ids in the headers of a file that is not valid TOML. Each of them is registered with the file's error."""
    header = r"""^\s*\[\s*envs\s*\.\s*(?:"([^"\n]+)"|'([^'\n]+)'|([\w-]+))"""
    found = re.findall(header, content.decode("utf-8-sig", "replace"), re.MULTILINE)
    return ["".join(quoted) for quoted in found]
