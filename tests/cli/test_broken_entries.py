"""Broken entries as users write them: ``check`` names the cause, and ``gym.make`` gives the same advice.

The entries and their messages are in support/broken_entries.py.
"""

import ast
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.broken_entries import BROKEN, Broken
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The values for the braces, and an envs.toml with every broken entry."""
    folder = tmp_path_factory.mktemp("broken")
    python = TARGETS[TARGET].python()
    subprocess.run([python, "-m", "venv", "--without-pip", folder / "bare"], check=True)
    (folder / "unreadable.py").write_text('"""For Python 2."""\nprint "made"\n')
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = {
            "python": str(python),
            "bare": str(folder / "bare"),
            "broken": str(ENVS / "broken"),
            "folder": str(folder),
            "port": str(server.getsockname()[1]),
            "version": subprocess.check_output([python, "-c", PRINT_VERSION], text=True).strip(),
        }
        text = '[interpreters.arms]\npython = "3.10"\n'
        for broken in BROKEN:
            text += f'[envs."{broken.name}"]\n{filled(broken.keys, found)}\n'
            if broken.has_python:
                text += filled('python = "{python}"\npythonpath = ["{broken}"]\n', found)
        (folder / "envs.toml").write_text(text)
        yield found


def filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def run(words: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env |= dict.fromkeys(("XDG_CONFIG_HOME", "XDG_STATE_HOME"), words["folder"])
    return subprocess.run(
        [sys.executable, *argv], env=env, cwd=words["folder"], capture_output=True, text=True, check=False
    )


PRINT_VERSION = "import platform; print(platform.python_version())"
MAKE = """
import sys, gym_service
for name in sys.argv[1:]:
    try:
        gym_service.make(name).close()
        print("made")
    except gym_service.errors.GymServiceError as error:
        print(repr(str(error)))
"""


@pytest.fixture(scope="module")
def found(words: dict[str, str]) -> dict[str, tuple[dict[str, Any], str]]:
    """For each entry: the row of ``check`` that failed, and the message of ``make``."""

    def look(part: Sequence[Broken]) -> list[tuple[dict[str, Any], str]]:
        names = [broken.name for broken in part]
        checked = run(words, "-m", "gym_service", "check", "--json", *names)
        assert checked.returncode == 1, checked.stderr
        rows = [one["rows"] for one in json.loads(checked.stdout)["entries"]]
        made = run(words, "-c", MAKE, *names).stdout.splitlines()
        return list(zip(rows, made, strict=True))

    parts = [BROKEN[first::4] for first in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(look, parts))
    names = [broken.name for part in parts for broken in part]
    flat = [answer for part in answers for answer in part]
    return {
        name: (next(row for row in rows if row["outcome"] == "failed"), made)
        for name, (rows, made) in zip(names, flat, strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN, ids=[broken.name for broken in BROKEN])
def test_the_cause_is_named_and_the_advice_is_that_of_make(
    broken: Broken, found: dict[str, tuple[dict[str, Any], str]], words: dict[str, str]
) -> None:
    row, made = found[broken.name]
    print(json.dumps(row, indent=1, ensure_ascii=False), made)
    assert row["check"] == broken.check
    assert row.get("cause", "") == filled(broken.cause, words)
    assert row.get("advice", "") == filled(broken.advice, words)
    assert filled(broken.text, words) in (row["text"], "")
    assert not broken.evidence or filled(broken.evidence, words) in row["evidence"]
    if broken.is_made:
        assert made == "made"
    else:
        said = ast.literal_eval(made)
        assert all(filled(part, words) in said for part in (broken.cause, broken.advice))
