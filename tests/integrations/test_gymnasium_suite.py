"""Gymnasium's own tests of envs, wrappers and vector envs, with their envs behind a bridge (see ``routed.py``).

``pytest tests/integrations -m integrations -k gymnasium``. The tests come from ``$GYMNASIUM_SUITE``, a checkout of
Gymnasium's repository, else from the source distribution on PyPI, which holds only those of its core: then the rest is
a skip that says so.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from targets import TARGETS

pytestmark = pytest.mark.integrations

HERE = Path(__file__).absolute().parent
GYMNASIUM = "1.4.0"
PARTS = {
    "core": ["tests/test_core.py"],
    "wrappers": ["tests/wrappers"],
    "vector": ["tests/vector"],
    "registration": ["tests/envs/registration"],
    "envs": [
        *("tests/envs/test_envs.py", "tests/envs/test_env_implementation.py", "tests/envs/test_action_dim_check.py"),
        *("tests/envs/test_rendering.py", "tests/envs/toy_text"),
    ],
}
TIMEOUT_S = 7200


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Gymnasium's ``tests`` in it."""
    checkout = os.environ.get("GYMNASIUM_SUITE")
    if checkout:
        return Path(checkout)
    folder = tmp_path_factory.mktemp("gymnasium")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pip[0] = str(TARGETS["trainers"].python())  # a venv of uv's has no pip
    subprocess.run([*pip, f"gymnasium=={GYMNASIUM}", "--dest", str(folder)], check=True, timeout=300)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / f"gymnasium-{GYMNASIUM}"


@pytest.mark.parametrize("part", PARTS)
def test_gymnasiums_own_tests_pass_behind_a_bridge(part: str, suite: Path) -> None:
    missing = [path for path in PARTS[part] if not (suite / path).exists()]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not in the source distribution: GYMNASIUM_SUITE must name a checkout")
    environ = {**os.environ, "PYTHONPATH": str(HERE), "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    command = [str(TARGETS["gymnasium-suite"].python()), "-m", "pytest", "-p", "routed", "-p", "no:cacheprovider"]
    command += ["-q", "-rfEs", "--tb=short", "-c", os.devnull, "--rootdir", str(suite), *PARTS[part]]
    done = subprocess.run(command, cwd=suite, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert " tests have made a remote env, " in done.stdout
