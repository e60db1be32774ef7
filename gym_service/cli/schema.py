"""The JSON schema of envs.toml, made of the definitions that check it: ``gym-service schema``, docs/envs.schema.json.

Knows the keys of the launcher, their checks, and the descriptions of ``factory/options.py``. Never knows a file. Python
3.10 and up.
"""

import ast
import inspect
import json
from collections.abc import Mapping
from typing import Any

from gym_service_launcher.config import entry as entries
from gym_service_launcher.config.validation import Check, schema_of

from gym_service.factory import options


def text() -> str:
    """The schema as JSON, with a newline at its end."""
    return json.dumps(schema(), indent=1) + "\n"


def schema() -> dict[str, Any]:
    """The schema. An editor cannot know all: paths, ids and versions are checked by ``gym-service check``."""
    about = _descriptions()
    env = {**_table(entries.ENTRY_KEYS, about), "allOf": [_not_both(*pair) for pair in _exclusive_pairs()]}
    interpreter = {**_table(entries.INTERPRETER_KEYS, about), "required": ["python"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "envs.toml of gym-service",
        "type": "object",
        "properties": {
            "envs": {
                "description": 'The envs, by your own names: gym.make("gym_service/NAME").',
                "type": "object",
                "propertyNames": {"pattern": r"^[\w.-]+$"},
                "additionalProperties": env,
            },
            "interpreters": {
                "description": "Interpreters that several envs share, and what is installed into them.",
                "type": "object",
                "additionalProperties": interpreter,
            },
        },
        "additionalProperties": False,
    }


def _table(keys: Mapping[str, Check], about: Mapping[str, str]) -> dict[str, Any]:
    properties = {key: {"description": about[key], **schema_of(check)} for key, check in keys.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _exclusive_pairs() -> list[tuple[str, str]]:
    return [(key, other) for key, others, _ in entries.MUTUALLY_EXCLUSIVE for other in others]


def _not_both(first: str, second: str) -> dict[str, Any]:
    return {"not": {"required": [first, second]}}


def _descriptions() -> dict[str, str]:
    """What is written below each key of EntryOptions."""
    (found,) = ast.parse(inspect.getsource(options.EntryOptions)).body
    assert isinstance(found, ast.ClassDef)
    described = {}
    for key, words in zip(found.body, found.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(words, ast.Expr):
            assert isinstance(words.value, ast.Constant)
            described[key.target.id] = " ".join(str(words.value.value).replace("``", "").split())
    return described
