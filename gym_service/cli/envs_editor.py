"""Changes an envs.toml, and keeps its comments and the order of its tables.

Knows TOML as text and as tomlkit reads it. Never knows what an entry means. Python 3.10 and up.

A change is written to another file, which then replaces envs.toml: it is complete or unchanged.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from gym_service_launcher.config import envs_file
from gym_service_launcher.config.validation import Location
from gym_service_launcher.errors import GymServiceError
from tomlkit.exceptions import TOMLKitError

SCHEMA_URL = "https://raw.githubusercontent.com/gym-service/gym-service/main/docs/envs.schema.json"
SCHEMA_LINE = f"#:schema {SCHEMA_URL}"
HEADER = re.compile(r"^[ \t]*\[")


def read(path: Path) -> str:
    """The text of an envs.toml; that of an empty one if there is none. Ends of lines are kept.

    Raises ConfigError if it is no TOML.
    """
    if not path.exists():
        return f"{SCHEMA_LINE}\n"
    content = path.read_bytes()
    envs_file.parse(content, Location(path, path.parent, str(path)))
    return content.decode("utf-8-sig")


def with_entry(text: str, name: str, keys: Mapping[str, Any]) -> str:
    """The text with one more entry at its end."""
    table = tomlkit.table()
    for key, value in keys.items():
        table[key] = value
    document = tomlkit.document()
    document["envs"] = tomlkit.table(is_super_table=True)
    document["envs"][name] = table
    newline = "\r\n" if "\r\n" in text else "\n"
    addition = tomlkit.dumps(document).strip("\n").replace("\n", newline)
    head = text.rstrip("\r\n")
    return f"{head}{newline * 2 if head else ''}{addition}{newline}"


def without_entry(text: str, name: str) -> str:
    """The text without an entry. Comments above it, and those above the table that follows, stay."""
    wanted = tomlkit.parse(text).unwrap()
    del wanted["envs"][name]
    if not wanted["envs"]:
        del wanted["envs"]
    for changed in (_without_lines(text, name), _without_table(text, name)):
        found = _tables(changed)
        if found and not found.get("envs", True):
            del found["envs"]
        if found == wanted:
            return changed
    raise GymServiceError(f"[envs.{name}] stands in the file in a form that cannot be removed\n  try: an editor")


def _tables(text: str) -> dict[str, Any] | None:
    """What a text holds; None if it is no TOML."""
    try:
        return dict(tomlkit.parse(text).unwrap())
    except TOMLKitError:
        return None


def _without_lines(text: str, name: str) -> str:
    """Leaves out the tables of the entry, by their headers. The caller compares what is left."""
    key = "|".join(map(re.escape, (name, f'"{name}"', f"'{name}'")))
    own = re.compile(rf"^[ \t]*\[\s*envs\s*\.\s*(?:{key})\s*[.\]]")
    kept: list[str] = []
    held: list[str] = []  # comments and blank lines that may belong to the next table
    is_inside, before = False, ""
    for line in text.splitlines(keepends=True):
        # Not a header if it stands in a text or a list of several lines: then what is before it is no TOML.
        is_header = HEADER.match(line) and _tables(before) is not None
        before += line
        if is_header:
            was_inside, is_inside = is_inside, bool(own.match(line))
            kept += held if not is_inside or not was_inside else []
            held = []
            kept += [] if is_inside else [line]
        elif not is_inside:
            kept.append(line)
        elif not line.strip() or line.lstrip().startswith("#"):
            held.append(line)
        else:
            held = []
    changed = "".join(kept + held)
    return re.sub(r"(\r?\n){3,}", lambda found: found[1] * 2, changed)


def _without_table(text: str, name: str) -> str:
    document = tomlkit.parse(text)
    del document["envs"][name]
    return tomlkit.dumps(document)


def write(path: Path, text: str) -> None:
    """Replace the file, or what a link with its name leads to. Raises GymServiceError if it cannot be written."""
    target = Path(os.path.realpath(path))
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(text.encode())
        if target.exists():
            unfinished.chmod(target.stat().st_mode & 0o777)
        unfinished.replace(target)
    except OSError as error:
        raise GymServiceError(f"{path} cannot be written: {error.strerror}\n  try: another --envs FILE") from error
    finally:
        unfinished.unlink(missing_ok=True)
