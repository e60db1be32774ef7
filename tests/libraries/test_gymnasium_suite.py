"""Gymnasium's own tests of envs, wrappers and vector envs, with their envs through gym-service (see ``routed.py``).

``pytest tests/libraries -m integrations -k gymnasium``. The tests come from ``$GYMNASIUM_SUITE``, a checkout of
Gymnasium's repository, else from a clone of it, else from the source distribution, which has only the tests of its
core: then the others are skipped with that reason. They test the installed Gymnasium.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.targets import TARGETS

pytestmark = pytest.mark.integrations

HERE = Path(__file__).absolute().parent
GYMNASIUM = "1.4.0"
REPOSITORY = "https://github.com/Farama-Foundation/Gymnasium"
PARTS = {
    "core": ["tests/test_core.py"],
    "wrappers": ["tests/wrappers"],
    "vector": ["tests/vector"],
    "registration": ["tests/envs/registration"],
    "envs": [
        *("tests/envs/test_envs.py", "tests/envs/test_env_implementation.py", "tests/envs/test_rendering.py"),
        "tests/envs/toy_text",
    ],
    # Alone: some other tests close the envs that all of them share, and with gym-service a closed env stays closed.
    "actions": ["tests/envs/test_action_dim_check.py"],
}
TIMEOUT_S = 7200
CLONE_TIMEOUT_S = 120


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only Gymnasium's ``tests`` in it, so that no second ``gymnasium`` can be imported."""
    folder = tmp_path_factory.mktemp("gymnasium")
    given = os.environ.get("GYMNASIUM_SUITE")
    source = Path(given) if given else cloned(folder / "clone") or unpacked(folder)
    shutil.copytree(source / "tests", folder / "suite/tests", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "suite"


def cloned(folder: Path) -> Path | None:
    """A clone of the repository with only the tests checked out; None if it cannot be cloned."""
    clone = ["git", "clone", "--quiet", "--depth=1", "--filter=blob:none", "--no-checkout"]
    check_out = ["git", "-C", str(folder), "checkout", "--quiet", f"v{GYMNASIUM}", "--", "tests"]
    try:
        for command in ([*clone, f"--branch=v{GYMNASIUM}", REPOSITORY, str(folder)], check_out):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=CLONE_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        print(error)
        return None
    return folder


def unpacked(folder: Path) -> Path:
    """The source distribution."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pip[0] = str(TARGETS["gymnasium-suite"].python())  # a venv made by uv has no pip
    subprocess.run([*pip, f"gymnasium=={GYMNASIUM}", "--dest", str(folder)], check=True, timeout=300)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / f"gymnasium-{GYMNASIUM}"


@pytest.mark.parametrize("part", PARTS)
def test_gymnasiums_own_tests_pass_behind_a_bridge(part: str, suite: Path) -> None:
    missing = [path for path in PARTS[part] if not (suite / path).exists()]
    if missing:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"{', '.join(missing)} is not in the source distribution: GYMNASIUM_SUITE must name a checkout")
    unseen = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    environ = {**os.environ, **unseen, "PYTHONPATH": str(HERE)}
    command = [str(TARGETS["gymnasium-suite"].python()), "-m", "pytest", "-p", "routed", "-p", "no:cacheprovider"]
    command += ["-q", "-rfEs", "--tb=short", "-c", os.devnull, "--rootdir", str(suite), *PARTS[part]]
    done = subprocess.run(command, cwd=suite, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert " tests have made a remote env, " in done.stdout
