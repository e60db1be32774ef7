"""The library's log lines, in programs that configure logging in their own way or not at all."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import gym_service
from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Attaching to an address without a server logs one line, and then fails.
ATTACH = """
import gym_service
try:
    gym_service.make("X-v0", address={address!r}, timeouts={{"start": 0.1}})
except gym_service.errors.ServerStartError:
    pass
"""
# The program's configuration, and its stderr with that.
LINE = "no server at {address} yet (No such file or directory): trying for 0.1 s"
OWN = "logging.getLogger('gym_service')"
CONFIGURED = {
    "nothing": ("", [LINE]),
    "root at INFO": ("logging.basicConfig(level=logging.INFO)", [f"INFO:gym_service:{LINE}"]),
    "root at WARNING": ("logging.basicConfig()", []),
    "root at WARNING, ours at INFO": (
        f"logging.basicConfig(); {OWN}.setLevel(logging.INFO)",
        [f"INFO:gym_service:{LINE}"],
    ),
    "ours at WARNING": (f"{OWN}.setLevel(logging.WARNING)", []),
    "a handler that drops all": (f"{OWN}.addHandler(logging.NullHandler()); {OWN}.setLevel(logging.INFO)", []),
    "a handler of its own": (
        f"handler = logging.StreamHandler(); handler.setFormatter(logging.Formatter('> %(message)s'))\n"
        f"{OWN}.addHandler(handler); {OWN}.setLevel(logging.INFO); {OWN}.propagate = False",
        [f"> {LINE}"],
    ),
    "disabled": ("logging.disable(logging.INFO)", []),
    "stderr closed": ("sys.stderr.close()", []),
    "no stderr": ("sys.stderr = None", []),
}


@pytest.mark.parametrize("configured", CONFIGURED)
def test_a_line_is_shown_once_or_as_the_program_says(configured: str, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/nobody"
    code, lines = CONFIGURED[configured]
    program = f"import logging, sys\n{code}\n{ATTACH.format(address=address)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines() == [line.format(address=address) for line in lines]
    assert done.stdout == ""


def test_a_configuration_that_comes_later_holds(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/nobody"
    attach = ATTACH.format(address=address)
    program = f"import logging, sys\n{attach}\nlogging.basicConfig(level=logging.INFO)\n{attach}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    line = LINE.format(address=address)
    assert done.stderr.splitlines() == [line, f"INFO:gym_service:{line}"]


def test_pytest_captures_the_lines(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/nobody"
    with caplog.at_level(logging.INFO, logger="gym_service"), pytest.raises(errors.ServerStartError):
        gym_service.make("X-v0", address=address, timeouts={"start": 0.1})
    assert caplog.record_tuples == [("gym_service", logging.INFO, LINE.format(address=address))]
