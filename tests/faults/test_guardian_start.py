"""A guardian that does not start: its error is told, in time, and nothing is left behind.

The guardian's interpreter is a shell script. fd 3 is its control socket.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, sys
from gym_service_launcher.processes import guardian_process

guardian_process.guardian_python = lambda executable: sys.argv[1]
guardian_process.START_S = 1.0
if sys.argv[2] == "default SIGPIPE":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if sys.argv[2] == "large environment":
    os.environ.update((f"LARGE_{number}", "x" * 10_000) for number in range(40))
import gym_service

for _ in range(2):
    try:
        gym_service.make("CartPole-v1", python=sys.executable)
    except gym_service.errors.ServerStartError as error:
        print(error)
print(len(os.listdir("/proc/self/fd")))
"""

USUAL, DEFAULT, LARGE = "usual", "default SIGPIPE", "large environment"
ENDED, LATE = "ended with exit code 3", "did not start within 1.0 s"
AFTER_THE_REQUEST = "head -c 1 <&3 >/dev/null; exit 3"


@pytest.mark.parametrize(
    ("script", "situation", "told"),
    [
        ("exit 3", USUAL, ENDED),
        ("exit 3", DEFAULT, ENDED),
        (AFTER_THE_REQUEST, USUAL, ENDED),
        (AFTER_THE_REQUEST, DEFAULT, ENDED),
        (r"printf 'errno 12\n' >&3; exit 1", USUAL, os.strerror(12)),
        ("exec sleep 60", USUAL, LATE),
        ("exec sleep 60", LARGE, LATE),
    ],
)
def test_its_error_is_told(tmp_path: Path, script: str, situation: str, told: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    argv = [sys.executable, "-c", PROGRAM, str(fake), situation]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(told) == 2, done.stdout
    assert int(done.stdout.split()[-1]) <= 6, done.stdout
