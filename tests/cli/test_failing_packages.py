"""An installed simulator that cannot be imported: it is named wherever its ids are missed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.opened import TARGET
from support.targets import TARGETS

pytestmark = pytest.mark.slow

METADATA = "Metadata-Version: 2.1\nName: their-sim\nVersion: 1.0\nRequires-Dist: gymnasium\n"
ERROR = "ModuleNotFoundError: No module named 'no_such_helper'"
MAKE = "import gym_service\ntry: gym_service.make('Theirs-v0')\nexcept Exception as error: print(error)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an envs.toml, and with a package that needs gymnasium and another module, which is missing."""
    package = tmp_path / "their_sim-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: their-sim\nVersion: 1.0\nRequires-Dist: gymnasium\n"
    )
    (package / "top_level.txt").write_text("their_sim\n")
    (tmp_path / "their_sim.py").write_text("import no_such_helper\n")
    python = json.dumps(str(TARGETS[TARGET].python()))
    (tmp_path / "envs.toml").write_text(f'[envs.Theirs-v0]\npython = {python}\npythonpath = ["."]\n')
    return tmp_path


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)


def test_ids_says_which_package_cannot_be_imported(project: Path) -> None:
    python = str(TARGETS[TARGET].python())
    shown = run(project, "-m", "gym_service", "ids", python, "--pythonpath", ".")
    assert f"their_sim cannot be imported: {ERROR}\n" in shown.stderr
    assert (shown.stdout, shown.returncode) == ("", 0)


def test_check_and_make_name_it_and_what_they_advise_finds_the_cause(project: Path) -> None:
    python = TARGETS[TARGET].python()
    cause = f"nothing in {python} registers 'Theirs-v0', and their_sim cannot be imported: {ERROR}"
    advice = 'imports = ["their_sim"]'
    (row,) = failures(project)
    assert (row["cause"], row["advice"]) == (cause, f"{advice}, then gym-service check Theirs-v0, which says why")
    assert cause in run(project, "-c", MAKE).stdout
    with (project / "envs.toml").open("a") as file:
        file.write(advice)
    (row,) = failures(project)
    assert row["cause"] == f"the module 'no_such_helper' is not installed in {python}, and their_sim needs it"


def failures(project: Path) -> list[dict[str, str]]:
    checked = json.loads(run(project, "-m", "gym_service", "check", "--json").stdout)
    return [row for row in checked["entries"][0]["rows"] if row["outcome"] == "failed"]
