"""TOML: bytes in, tables out, and a mistake by its line and column.

Knows TOML. Never knows which keys there are. Python 3.10 and up.
"""

import re
import sys
from typing import Any

from gym_service_launcher.keys import Place

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parsed(content: bytes, place: Place) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError, with line and column."""
    try:
        text = content.decode("utf-8-sig")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        where = _position(content[: error.start].decode("utf-8"))
        raise place.mistake(f"no TOML: it is not UTF-8 (at {where})") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5000 digits.
        what = str(error).replace("at end of document", f"at {_position(text)}, the end of the file")
        raise place.mistake(f"no TOML: {what}") from error


def _position(before: str) -> str:
    lines = before.split("\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}"


def header_ids(content: bytes) -> list[str]:
    """The ids of the headers in a file that is no TOML, so that each can at least say so."""
    header = r"""^\s*\[\s*envs\s*\.\s*(?:"([^"\n]+)"|'([^'\n]+)'|([\w-]+))"""
    found = re.findall(header, content.decode("utf-8-sig", "replace"), re.MULTILINE)
    return ["".join(quoted) for quoted in found]
