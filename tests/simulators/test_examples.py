"""examples/envs.toml, from nothing: every simulator of it is built, made, reset and stepped. By hand: -m long.

Some two minutes with an empty cache of uv and pip, and a network.
"""

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
    assert (time.monotonic() - begin) / 8 < 0.1  # the promise: less than 100 ms for each entry
    assert len(re.findall("  up to date  ", again.stdout)) == 8
    for name in envs_file.load(FILE).entries:
        subprocess.run([sys.executable, "-c", PLAY, name], env=env, check=True)
