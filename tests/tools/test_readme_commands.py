"""The README's first commands, as somebody types them who has just cloned the repository: with an empty HOME."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.paths import REPOSITORY

# Builds two venvs and plays one episode. Once is enough.
pytestmark = pytest.mark.slow

# Variables of the network and of the machine's Pythons: all that a user's home does not say.
KEPT = ("PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP", "http", "no_proxy", "NO_PROXY")
NOT_CLONED = shutil.ignore_patterns(".git", ".venv*", ".tools", "__pycache__", "outputs", "build", "dist", ".*_cache")
TIMEOUT_S = 600


def test_the_demo_runs_from_a_clone_with_an_empty_home(tmp_path: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    block = re.search(r"^```bash\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert block
    clone, enter, demo, _ = block[1].splitlines()
    assert clone.startswith("git clone https://")
    assert enter == "cd gym-service"
    folder, home = tmp_path / "gym-service", tmp_path / "home"
    shutil.copytree(REPOSITORY, folder, ignore=NOT_CLONED)
    home.mkdir()
    found = {name: value for name, value in os.environ.items() if name.startswith(KEPT) and name != "UV_CACHE_DIR"}
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    env = {**found, "HOME": str(home), "PATH": path, "PYENV_ROOT": pyenv, "LANG": "C.UTF-8"}
    mark = {name: value for name, value in os.environ.items() if name == "GYM_SERVICE_TEST_RUN"}
    ran = subprocess.run(
        demo.split(), cwd=folder, env={**env, **mark}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"numpy +│ \S+ +│ 1\.\d+", ran.stdout), ran.stdout
    with Image.open(folder / "outputs/pusht.png") as picture:
        assert picture.width > 5 * 96
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 5
    with Image.open(folder / "outputs/pusht.gif") as film:
        assert getattr(film, "n_frames", 1) > 10
