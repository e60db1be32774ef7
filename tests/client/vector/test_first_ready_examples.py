"""The two examples of send() and recv() run, and do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REPOSITORY

pytestmark = pytest.mark.slow


def run(name: str, *words: str) -> str:
    argv = [sys.executable, str(Path(REPOSITORY) / "examples" / name), "--python", sys.executable, *words]
    ran = subprocess.run(argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_halves_in_flight() -> None:
    printed = run("halves_in_flight.py", "--steps", "40", "--num-envs", "6", "--policy-ms", "1")
    rewards = re.findall(r"^(step|halves in flight): \d+ env steps/s, (\d+) of reward$", printed, re.MULTILINE)
    assert [name for name, _ in rewards] == ["step", "halves in flight"], printed
    # CartPole's reward is 1 for each step that is not an autoreset.
    assert all(0.5 * 240 < int(total) <= 240 for _, total in rewards), printed


def test_a_learner_with_a_replay_buffer_learns() -> None:
    assert "episodes; the goal was reached in" in run("first_ready_learner.py", "--transitions", "6000")
