"""examples/envs.toml, starting without venvs: each simulator is built, made, reset and stepped. By hand: -m long.

Takes some two minutes with an empty cache of uv and pip, and needs a network.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gym_service_launcher.config import envs_file
from support.targets import REPOSITORY

FILE = REPOSITORY / "examples/envs.toml"
PLAY = """
import sys, gymnasium, gym_service
gym_service.use()
env = gymnasium.make("gym_service/" + sys.argv[1])
env.reset(seed=1)
assert len(env.step(env.action_space.sample())) == 5
env.close()
"""


def test_the_file_can_be_read_and_each_entry_names_an_interpreter() -> None:
    file = envs_file.load(FILE)
    assert not file.problems
    assert len(file.entries) == len(file.interpreters) == 8
    assert all(not isinstance(entry, Exception) and entry.interpreter for entry in file.entries.values())


@pytest.mark.long
def test_every_example_is_built_from_nothing_and_plays(tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR")}
    env = {**os.environ, **folders, "GYM_SERVICE_ENVS": str(FILE)}
    sync = [sys.executable, "-m", "gym_service", "sync"]
    subprocess.run(sync, env=env, check=True)
    begin = time.monotonic()
    again = subprocess.run(sync, env=env, check=True, capture_output=True, text=True)
    took_s = time.monotonic() - begin
    assert len(re.findall("  up to date  ", again.stdout)) == 8
    for name in envs_file.load(FILE).entries:
        subprocess.run([sys.executable, "-c", PLAY, name], env=env, check=True)
    # Last, since a busy machine breaks this promise alone: less than 100 ms for each entry.
    assert took_s / 8 < 0.1


@pytest.mark.long
def test_check_of_every_example_is_in_order(tmp_path: Path) -> None:
    """Some two minutes on an idle machine, once the venvs are built in the user's own cache."""
    check = [sys.executable, "-m", "gym_service", "check", "--json", "--envs", str(FILE)]
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    ran = subprocess.run(check, env=env, check=False, stdout=subprocess.PIPE, text=True)
    entries = json.loads(ran.stdout)["entries"]
    assert (ran.returncode, len(entries)) == (0, 8)
    made = [row["check"] for entry in entries for row in entry["rows"] if row["outcome"] == "passed"]
    assert all(made.count(check) == 8 for check in ("make", "reset", "steps", "parity", "render", "left behind"))
