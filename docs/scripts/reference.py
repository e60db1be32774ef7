"""The pages of the reference that are made of the program itself: envs.toml, the command line, the errors.

A hook of mkdocs, which calls ``on_files``. Knows the schema of envs.toml, the parsers of the commands and the classes
of the errors. Never knows what the other pages say. No page is committed, so none can be out of date. Python 3.10 and
up.
"""

import argparse
import inspect
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

os.environ["COLUMNS"] = "80"  # argparse lays out its help by it

Table = Mapping[str, Any]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to those of the site. mkdocs calls it with its own types, which are not needed to test a page."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """The text of each generated page by its file name."""
    from gym_service.cli import main, schema

    return {
        "reference-keys.md": keys_page(schema.schema()),
        "reference-cli.md": commands_page(*main._parser()),
        "reference-errors.md": errors_page(),
    }


def keys_page(schema: Table) -> str:
    """Every key of envs.toml, with its type and its description in the schema."""
    tables = schema["properties"]
    lines = [
        "# envs.toml, key by key",
        "",
        "This page is made of the schema of envs.toml ([envs.schema.json](envs.schema.json)). "
        "[Configuration](configuration.md) explains how the keys work together.",
    ]
    for name, title in (("envs", '[envs."NAME"]'), ("interpreters", "[interpreters.NAME]")):
        lines += ["", f"## `{title}`", "", tables[name]["description"], "", "| key | type | |", "|---|---|---|"]
        keys = tables[name]["additionalProperties"]["properties"]
        lines += [f"| `{key}` | {_cell(_type(value))} | {_cell(value['description'])} |" for key, value in keys.items()]
        pairs = tables[name]["additionalProperties"].get("allOf", [])
        if pairs:
            lines += ["", "These keys exclude each other:", ""]
            lines += ["- " + " and ".join(f"`{key}`" for key in pair["not"]["required"]) for pair in pairs]
    return "\n".join(lines) + "\n"


def _type(schema: Table) -> str:
    """A type in words: ``list of string``, ``"raw" or "zlib"``."""
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object":
        keys = ", ".join(f"`{key}`" for key in schema.get("properties", {}))
        return f"table with {keys}" if keys else "table"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def commands_page(parser: argparse.ArgumentParser, commands: Any) -> str:
    """The help of every command, as it prints it in a terminal of 80 columns."""
    lines = ["# The command line, option by option", "", "This page is the output of `--help`."]
    for title, one in _parsers(parser, commands):
        lines += ["", f"## {title}", "", "```text", one.format_help().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _parsers(parser: argparse.ArgumentParser, commands: Any) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield parser.prog, parser
    for one in commands.choices.values():
        deeper = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
        yield one.prog, one
        for action in deeper:
            yield from ((inner.prog, inner) for inner in action.choices.values())


def errors_page() -> str:
    """The tree of the error classes, and what each docstring says."""
    from gym_service import errors

    classes = [cls for cls in map(vars(errors).get, errors.__all__) if inspect.isclass(cls) and not _is_made(cls)]
    lines = [
        "# Error classes",
        "",
        "This page is made of the classes in `gym_service.errors`. [Errors](errors.md) says what to do about each.",
        "",
        "For each of Python's own exceptions, and for each of `gymnasium.error`, there is also a class that is derived "
        "from `EnvError` and from that exception, named after it: `EnvTypeError`, `EnvKeyError`, `EnvResetNeeded`.",
        "",
        "```text",
        *_tree(errors.GymServiceError, classes, 0),
        "```",
    ]
    for cls in classes:
        bases = ", ".join(f"`{base.__name__}`" for base in cls.__bases__)
        about = inspect.cleandoc(cls.__doc__ or "").replace("``", "`")
        lines += ["", f"## {cls.__name__}", "", f"Derived from {bases}.", "", about]
    return "\n".join(lines) + "\n"


def _is_made(cls: type) -> bool:
    """Whether it is one of the classes that stand for an exception of Python or Gymnasium."""
    return cls.__name__.startswith("Env") and cls.__name__ != "EnvError"


def _tree(cls: type, classes: list[type], depth: int) -> Iterator[str]:
    yield "  " * depth + cls.__name__
    for below in classes:
        bases = below.__bases__
        # ApiMismatch is also a TypeError, through a class that is left out.
        if bases[0] is cls or (_is_made(bases[0]) and bases[0].__bases__[0] is cls):
            yield from _tree(below, classes, depth + 1)
