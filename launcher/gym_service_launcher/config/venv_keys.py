"""The keys that say what is installed into a venv. They are the same in ``[interpreters.NAME]`` and in an entry.

Knows the keys and which of them need each other. Never knows where a venv is or how it is built. Python 3.10 and up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

from gym_service_launcher.config import validation
from gym_service_launcher.config.validation import Check, Location


@dataclass(frozen=True, kw_only=True)
class VenvKeys:
    """What is installed into a venv, and when.

    ``requires``, ``requirements`` and ``project`` are what to install. If none of them is given, no venv is built and
    the interpreter is used as it is. ``project`` is the folder of a Python project as the user wrote it, perhaps with
    extras; it is installed editable. ``constraints`` is a file, or the constraints themselves.
    """

    requires: tuple[str, ...] | None = None
    requirements: Path | None = None
    project: str | None = None
    constraints: Path | tuple[str, ...] | None = None
    build_requires: tuple[str, ...] = ()
    system_packages: tuple[str, ...] = ()
    post: tuple[tuple[str, ...], ...] = ()
    auto_sync: bool = True

    @property
    def builds_venv(self) -> bool:
        """Whether a venv is built."""
        return not (self.requires is None and self.requirements is None and self.project is None)


@validation.accepts(validation.schema_of(validation.string_list))
def _requires(value: object, location: Location) -> tuple[str, ...]:
    from gym_service_launcher.config import requirements  # few entries have any

    items = validation.string_list(value, location)
    requirements.check_items(items, location)
    return items


@validation.accepts({"anyOf": [validation.TEXT, validation.schema_of(validation.string_list)]})
def _constraints(value: object, location: Location) -> Path | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return validation.string_list(value, location)
    if not isinstance(value, (str, Path)):
        raise validation.type_error(value, "the path of a constraints file, or a list of constraints", location)
    return validation.path(value, location)


@validation.accepts({"type": "array", "items": {**validation.schema_of(validation.string_list), "minItems": 1}})
def _commands(value: object, location: Location) -> tuple[tuple[str, ...], ...]:
    commands = validation.list_of(validation.string_list, 'a list of commands, such as [["python", "-m", "x"]]')
    found = commands(value, location)
    for index, words in enumerate(found):
        if not words:
            raise location.item(index).error("the command is empty")
    return found


@validation.accepts(validation.TEXT)
def _project(value: object, location: Location) -> str:
    text = validation.text(str(value) if isinstance(value, Path) else value, location)
    if text.startswith("-") or "://" in text:
        raise location.error(
            f'{validation.shown(text)} is not a folder; expected "./their_repo" or "./their_repo[extra]"'
        )
    return text if text[0] in "./~" else f"./{text}"


VENV_CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "requires": _requires,
        "requirements": validation.path,
        "project": _project,
        "constraints": _constraints,
        "build_requires": validation.string_list,
        "system_packages": validation.string_list,
        "post": _commands,
        "auto_sync": validation.boolean,
    }
)
VENV_KEYS = tuple(field.name for field in fields(VenvKeys))
# Those that are part of the interpreter. ``auto_sync`` is not: an entry may differ in it from its interpreter.
INTERPRETER_VENV_KEYS = tuple(key for key in VENV_KEYS if key != "auto_sync")
# Keys that have no effect unless a venv is built.
BUILD_ONLY_KEYS = ("constraints", "build_requires", "post")


def refuse_useless(keys: VenvKeys, location: Location) -> None:
    """Raise ConfigError for a key that has no effect without a venv."""
    for key in BUILD_ONLY_KEYS:
        if getattr(keys, key) and not keys.builds_venv:
            raise location.at(key).error("has no effect without requires, requirements or project")
