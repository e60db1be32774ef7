"""Servers that fail to start: one type of error, soon, with the end of their output and the one thing to try.

tests/client/test_start_errors.py checks the wording of each message; this checks how long they take, over both
transports.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import procfs
from support.clock import Clock
from support.faulty import PROMPT_S, TRANSPORTS, alternately
from support.opened import TARGET, misbehaving
from support.targets import TARGETS

from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

SOON_S = 2.0
HANG_S = 1.5


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty venv."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([TARGETS[TARGET].python(), "-m", "venv", "--without-pip", folder], check=True)
    return folder


def program(folder: Path, content: str, mode: int = 0o755) -> dict[str, Any]:
    path = folder / "python"
    path.write_text(content)
    path.chmod(mode)
    return {"python": str(path)}


def without_gym(bare: Path, folder: Path) -> dict[str, Any]:
    site = TARGETS[TARGET].python().parent.parent
    for found in site.glob("lib/python3*/site-packages/numpy*"):
        (folder / found.name).symlink_to(found)
    return {"python": str(bare), "pythonpath": [str(folder)], "imports": []}


# What is wrong, as keys of an entry; what the error says; whether the server printed something itself.
WRONG: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str, bool]] = {
    "missing": (lambda bare, folder: {"python": str(folder / "none")}, "does not exist", False),
    "not executable": (lambda bare, folder: program(folder, "#!/bin/sh\n", 0o644), "is not an executable file", False),
    "not a program": (lambda bare, folder: program(folder, "?"), "Exec format error", False),
    "too old": (
        lambda bare, folder: program(folder, "#!/bin/sh\necho Python 2.7.18 >&2\nexit 3\n"),
        "exit code 3",
        True,
    ),
    "no numpy": (lambda bare, folder: {"python": str(bare)}, "has no numpy", True),
    "no gym": (without_gym, "neither gymnasium nor gym", False),
    "import error": (lambda bare, folder: {"imports": ["no_such_module"]}, "No module named 'no_such_module'", False),
    "crash at import": (lambda bare, folder: {"environ": {"MISBEHAVE": "SIGSEGV"}}, "killed by SIGSEGV", True),
    "exit at import": (lambda bare, folder: {"environ": {"MISBEHAVE": "os._exit"}}, "exit code 7", True),
}


@pytest.mark.parametrize(("wrong", "transport"), alternately(WRONG))
def test_a_start_that_fails_does_so_soon(wrong: str, transport: str, bare: Path, tmp_path: Path) -> None:
    keys, says, has_words = WRONG[wrong]
    given = keys(bare, tmp_path)
    clock = Clock()
    with pytest.raises(errors.ServerStartError) as caught, misbehaving(transport=transport, **given):
        pass
    assert clock.took_s <= SOON_S
    assert says in str(caught.value)
    assert len(re.findall("^ *[Tt]ry: ", str(caught.value), re.MULTILINE)) == 1
    assert bool(caught.value.tail.strip()) == has_words
    assert caught.value.tail.strip() in str(caught.value).replace("\n    ", "\n")
    assert not procfs.children(procfs.guardian_of())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_hang_at_import_ends_at_its_timeout(transport: str) -> None:
    # A busy machine may not have reached the import by then, so the limit grows.
    for limit_s in (HANG_S, 10 * HANG_S, 30 * HANG_S):
        clock = Clock()
        with (
            pytest.raises(errors.ServerStartError) as caught,
            misbehaving(environ={"MISBEHAVE": "hang"}, timeouts={"start": limit_s}, transport=transport),
        ):
            pass
        if "still here" in caught.value.tail:
            break
    assert clock.is_within(limit_s, limit_s + 2 * PROMPT_S)
    assert f"it was not up after {limit_s:g} s (blocked)" in str(caught.value)
    assert "still here" in str(caught.value)
    assert str(caught.value).endswith("timeouts = { start = … }, if it was still at work")
    assert not procfs.children(procfs.guardian_of())
