"""Requirements as pip takes them: one item of ``requires``, and the lines of a requirements file.

Knows the options of pip that both installers have. Never runs an installer (``standalone/installers.py``), and never
asks an index. Python 3.10 and up.

An option that is not known here is an error that names it: an installer that ignores an option, or that reads it in
another way, installs something else than its user wants.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gym_service_launcher.config.validation import Location, shown
from gym_service_launcher.spelling import listed
from gym_service_launcher.standalone import interrupts

# The long name of each option, and whether a value follows.
OPTIONS: dict[str, bool] = {
    "--editable": True,
    "--requirement": True,
    "--constraint": True,
    "--index-url": True,
    "--extra-index-url": True,
    "--find-links": True,
    "--no-index": False,
    "--no-binary": True,
    "--only-binary": True,
    "--pre": False,
    "--no-deps": False,
    "--no-build-isolation": False,
    "--trusted-host": True,
    "--index-strategy": True,
}
SHORT = {"-e": "--editable", "-r": "--requirement", "-c": "--constraint", "-i": "--index-url", "-f": "--find-links"}
# These take several names with commas between; each installer takes one at a time.
LISTS = ("--no-binary", "--only-binary")
# These name a file or a folder of this machine.
PATHS = ("--editable", "--requirement", "--constraint", "--find-links")

OPTION = re.compile(r"(--?[\w-]+)(?:\s*=\s*|\s+|$)(.*)", re.DOTALL)
# "./repo", "/a/b.whl", "~/repo[extra]", "name[extra] @ ./repo", "name @ file:///a"
LOCAL = re.compile(r"(?:[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*)?(?:file:(?://)?)?(?P<path>[./~][^\[;\s]*)")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
URL = re.compile(r"\w[\w+.-]*://")
# pip joins a line that ends with a backslash with the next one.
CONTINUED = re.compile(r"\\\r?\n")
COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True)
class Requirements:
    """What to install, sorted by how an installer is told.

    ``words`` are plain requirements, ``local`` those of a folder or a file of this machine (with ``-e`` before it,
    where it is editable), ``lines`` are lines of a requirements file. Each option is its name and its values.
    """

    words: tuple[str, ...] = ()
    local: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    options: tuple[tuple[str, ...], ...] = ()
    constraints: tuple[str, ...] = ()

    def __add__(self, other: "Requirements") -> "Requirements":
        return Requirements(
            self.words + other.words,
            self.local + other.local,
            self.lines + other.lines,
            self.options + other.options,
            self.constraints + other.constraints,
        )


def check_items(value: tuple[str, ...], location: Location) -> None:
    """Raise ConfigError for an item of ``requires`` that is an option which is not known."""
    for index, item in enumerate(value):
        _option(item.strip(), location.item(index))


def from_items(items: tuple[str, ...], location: Location) -> Requirements:
    """What the items of ``requires`` mean. Reads the files that ``-r`` and ``-c`` name.

    Raises:
        ConfigError: an option is not known, or such a file cannot be read.
    """
    found = Requirements()
    for index, item in enumerate(items):
        found += _requirements(item.strip(), location.item(index), location.folder, is_line=False)
    return found


def from_file(path: Path, location: Location, seen: tuple[Path, ...] = ()) -> Requirements:
    """What a requirements file means, with the files that it names. Its relative paths start from its own folder.

    Raises:
        ConfigError: it cannot be read, or one of its lines has an option that is not known.
    """
    found = Requirements()
    for number, line in _lines(path, location, seen):
        at = Location(path, path.parent, str(path), f"line {number}")
        found += _requirements(line, at, path.parent, is_line=True, seen=(*seen, path))
    return found


def constraints_from_file(path: Path, location: Location, seen: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """The lines of a constraints file. Raises ConfigError."""
    found = from_file(path, location, seen)
    return found.lines + found.words + found.constraints


def local_paths(requirements: Requirements, folder: Path) -> list[Path]:
    """The folders and files of this machine that would be installed, as absolute paths."""
    paths = []
    for words in requirements.local:
        match = LOCAL.match(words[-1])
        if match:
            paths.append(Path(os.path.normpath(folder / os.path.expanduser(match["path"]))))
    return paths


def _requirements(
    text: str, location: Location, folder: Path, *, is_line: bool, seen: tuple[Path, ...] = ()
) -> Requirements:
    option = _option(text, location)
    if option is None:
        return _requirement(text, folder, is_line=is_line)
    name, value = option
    if name == "--requirement":
        return from_file(_path(value, folder), location, seen)
    if name == "--constraint":
        return Requirements(constraints=constraints_from_file(_path(value, folder), location, seen))
    if name == "--editable":
        is_url = URL.match(value) or re.match(r"\w+\+", value)
        word = value if is_url or not is_line else _absolute(value, folder)
        return Requirements(local=(("-e", word),))
    if name == "--find-links" and is_line and not URL.match(value):
        value = str(_path(value, folder))
    if name in LISTS:
        return Requirements(options=tuple((name, part.strip()) for part in value.split(",") if part.strip()))
    return Requirements(options=((name, value) if OPTIONS[name] else (name,),))


def _requirement(text: str, folder: Path, *, is_line: bool) -> Requirements:
    is_local = LOCAL.match(text)
    if is_local and is_line:
        return Requirements(local=((_absolute(text, folder),),))
    if is_local:
        return Requirements(local=((text,),))
    return Requirements(lines=(text,)) if is_line else Requirements(words=(text,))


def _option(text: str, location: Location) -> tuple[str, str] | None:
    """The long name and the value of an option; None for a requirement. Raises ConfigError."""
    if not text.startswith("-"):
        return None
    match = OPTION.fullmatch(text)
    given = match[1] if match else text
    name = SHORT.get(given, given)
    value = match[2].strip() if match else ""
    if name not in OPTIONS:
        known = listed([*SHORT, *(name for name in OPTIONS if name not in SHORT.values())])
        raise location.error(f"{shown(given)} is an option that is not supported here; {known}")
    if bool(value) != OPTIONS[name]:
        raise location.error(f"{shown(given)} {'needs a' if OPTIONS[name] else 'takes no'} value")
    return name, value


def _lines(path: Path, location: Location, seen: tuple[Path, ...]) -> Iterator[tuple[int, str]]:
    """The number and the text of each line that says something; a continued line has the number of its first part."""
    if path in seen:
        raise location.error(f"{path} includes itself")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        raise location.error(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise location.error(f"{path} is not UTF-8") from error
    number = 1
    for line in re.split(r"(?<!\\)\r?\n", text):
        content = COMMENT.sub("", CONTINUED.sub(" ", line)).strip()
        if content:
            yield number, VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), content)
        number += line.count("\n") + 1


def _path(value: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder / os.path.expanduser(value)))


def _absolute(text: str, folder: Path) -> str:
    """A requirement whose path starts from another folder, with an absolute path."""
    match = LOCAL.match(text)
    assert match, "it was matched before"
    return text[: match.start("path")] + str(_path(match["path"], folder)) + text[match.end("path") :]
