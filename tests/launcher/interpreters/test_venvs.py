"""Venvs built with the real uv from a package that lies in a folder: no network, and real processes."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.interpreters.discovery import find_versions
from gym_service_launcher.interpreters.venvs import provision

# A build backend in a few lines, so that nothing is fetched to build with. It reads a line from the
# pipe `gate` where there is one, so that a test can hold a build at a known place.
BACKEND = """
import os, zipfile
def build_wheel(directory, settings=None, metadata=None):
    here = os.path.dirname(os.path.abspath(__file__))
    if os.path.exists(os.path.join(here, "gate")):
        print("building", flush=True)
        open(os.path.join(here, "gate")).read()
    if os.path.exists(os.path.join(here, "broken")):
        raise SystemExit("this package cannot be built")
    with zipfile.ZipFile(os.path.join(directory, "their_repo-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.write(os.path.join(here, "their_repo.py"), "their_repo.py")
        info = "their_repo-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: their-repo\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "their_repo-1.0-py3-none-any.whl"
build_editable = build_wheel
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "their-repo"
version = "1.0"
"""

# A client that builds the venv, and reports each line as it comes.
CLIENT = """
import sys
from pathlib import Path
from gym_service_launcher.interpreters.venvs import provision
print(provision(sys.argv[1], ("./their_repo",), Path(sys.argv[2]), lambda line: print(line, flush=True)))
"""

pytestmark = pytest.mark.skipif(discovery.find_uv() is None, reason="uv is not installed: pip install uv")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # uv keeps wheels that it built: each test builds its own.
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return tmp_path / "cache/gym-service/venvs"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a simulator's repository in it."""
    repo = tmp_path / "project/their_repo"
    repo.mkdir(parents=True)
    (repo / "their_repo.py").write_text("ANSWER = 42\n")
    (repo / "backend.py").write_text(BACKEND)
    (repo / "pyproject.toml").write_text(PYPROJECT)
    return repo.parent


@pytest.fixture
def python() -> str:
    """Where the Python of this test run comes from: not the venv that it may be."""
    return str(Path(sys.base_prefix) / "bin/python3")


@pytest.fixture
def clients() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that are gone after the test, however it ends."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def client(clients: list["subprocess.Popen[str]"], python: str, project: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CLIENT, python, str(project)]
    clients.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return clients[-1]


def lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout
    return (line.rstrip() for line in process.stdout)


def answer(executable: Path) -> str:
    command = [str(executable), "-c", "import their_repo; print(their_repo.ANSWER)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_venv_is_built_once_and_says_so(project: Path, python: str, cache: Path) -> None:
    said: list[str] = []
    executable = provision(python, ("./their_repo",), project, said.append)
    assert executable == cache / executable.parts[-3] / "bin/python"
    assert answer(executable) == "42"
    assert said[0] == f"Building a venv of Python {python} with ./their_repo in {executable.parent.parent}"
    assert any("their-repo==1.0" in line for line in said), said
    assert not any(line.endswith("\n") for line in said)
    again: list[str] = []
    assert provision(python, ("./their_repo",), project, again.append) == executable
    assert again == []


def test_the_content_of_the_table_decides_which_venv(project: Path, python: str) -> None:
    def built(requires: tuple[str, ...]) -> Path:
        return provision(python, requires, project, lambda line: None)

    assert built(()) != built(("./their_repo",)) != built(("-e ./their_repo",))
    first = built(("their-repo @ ./their_repo",))
    os.utime(project / "their_repo/pyproject.toml", ns=(1, 1))
    assert built(("their-repo @ ./their_repo",)) != first


@pytest.mark.parametrize("minor", ["3.8", "3.10", "3.12"])
def test_a_version_is_enough(project: Path, minor: str) -> None:
    if not any(version.startswith(f"{minor}.") for version, _ in find_versions()):
        pytest.skip(f"there is no Python {minor} on PATH, in pyenv or in conda")
    executable = provision(minor, ("./their_repo",), project, lambda line: None)
    assert discovery.query_version(executable)[0].startswith(f"{minor}.")
    assert answer(executable) == "42"


def test_the_clients_own_variables_lead_nowhere(
    project: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "encodings.py").write_text("raise SystemExit('the client is in here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    executable = provision(python, ("./their_repo",), project, lambda line: None)
    assert (executable.parent.parent / "gym-service.json").is_file()


def test_a_failure_ends_with_the_words_of_uv_and_leaves_nothing_whole(project: Path, python: str) -> None:
    broken = project / "their_repo/broken"
    broken.write_text("")
    with pytest.raises(ServerStartError) as error:
        provision(python, ("./their_repo",), project, lambda line: None)
    facts = error.value.__dict__
    assert facts["exit_code"] != 0
    assert facts["interpreter"] == python
    assert facts["argv"][-1] == "./their_repo"
    assert "this package cannot be built" in facts["tail"]
    command, _, tail = str(error.value).partition("\n")
    assert command.startswith(f"uv failed (exit code {facts['exit_code']}) on: ")
    assert tail == facts["tail"]
    broken.unlink()
    assert answer(provision(python, ("./their_repo",), project, lambda line: None)) == "42"


def test_two_processes_build_one_venv_and_the_second_says_that_it_waits(
    project: Path, python: str, cache: Path, clients: list["subprocess.Popen[str]"]
) -> None:
    gate = project / "their_repo/gate"
    os.mkfifo(gate)
    first = client(clients, python, project)
    building = next(lines(first))
    assert building.startswith(f"Building a venv of Python {python} ")
    # From here on the first one holds the lock, and cannot end before the gate opens.
    second = client(clients, python, project)
    venv = Path(building.rpartition(" ")[2])
    assert next(lines(second)) == f"Waiting for another process that is building {venv}"
    gate.open("w").close()
    assert list(lines(first))[-1] == str(venv / "bin/python")
    assert list(lines(second)) == [str(venv / "bin/python")]
    assert answer(venv / "bin/python") == "42"
    assert sorted(path.name for path in cache.iterdir()) == [venv.name, f"{venv.name}.lock"]


def test_a_build_that_was_killed_is_begun_again(
    project: Path, python: str, clients: list["subprocess.Popen[str]"]
) -> None:
    gate = project / "their_repo/gate"
    os.mkfifo(gate)
    first = client(clients, python, project)
    venv = Path(next(lines(first)).rpartition(" ")[2])
    with gate.open("w"):  # Opens when the build reads: uv stands in the middle of it.
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert not (venv / "gym-service.json").exists()
        # Its uv lives on and holds the lock, so that nobody builds beside it.
        lock = os.open(venv.with_suffix(".lock"), os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)
        gate.unlink()
    said: list[str] = []
    executable = provision(python, ("./their_repo",), project, said.append)
    assert executable == venv / "bin/python"
    assert any(line.startswith("Building a venv ") for line in said)
    assert answer(executable) == "42"


def test_a_venv_without_its_marker_is_built_anew(project: Path, python: str) -> None:
    executable = provision(python, ("./their_repo",), project, lambda line: None)
    venv = executable.parent.parent
    (venv / "gym-service.json").unlink()
    (venv / "left-over").write_text("")
    assert provision(python, ("./their_repo",), project, lambda line: None) == executable
    assert not (venv / "left-over").exists()


def test_a_venv_whose_python_is_gone_or_another_one_is_built_anew(project: Path, python: str) -> None:
    executable = provision(python, (), project, lambda line: None)
    executable.unlink()
    executable.symlink_to(project / "gone")
    assert provision(python, (), project, lambda line: None) == executable
    assert discovery.query_version(executable)[1] == executable
    marker = executable.parent.parent / "gym-service.json"
    built = json.loads(marker.read_text())
    marker.write_text(json.dumps(built | {"minor": "3.1"}))
    said: list[str] = []
    provision(python, (), project, said.append)
    assert said[0].startswith("Building a venv ")
    assert json.loads(marker.read_text()) == built


def test_progress_that_raises_ends_uv(project: Path, python: str) -> None:
    os.mkfifo(project / "their_repo/gate")

    def interrupted(line: str) -> None:
        if "Creating" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        provision(python, ("./their_repo",), project, interrupted)
    (project / "their_repo/gate").unlink()
    assert answer(provision(python, ("./their_repo",), project, lambda line: None)) == "42"


@pytest.mark.parametrize("option", ["--index-url=x", "-r requirements.txt", "-c x"])
def test_an_option_of_pip_is_no_requirement(option: str, cache: Path) -> None:
    with pytest.raises(ConfigError) as error:
        provision("3.10", ("numpy", option), Path("/"), lambda line: None)
    assert str(error.value) == (f'requires: "{option}" is an option of pip; expected a requirement, or -e and a folder')
    assert not cache.exists()


def test_without_uv_the_error_says_how_to_get_it(
    project: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if discovery.find_uv():
        pytest.skip("needs a Python without uv in its environment")
    with pytest.raises(ServerStartError) as error:
        provision(python, (), project, lambda line: None)
    assert str(error.value) == (
        "requires: uv builds the venv, but it is neither on PATH nor beside this Python\n  try: pip install uv"
    )


def test_a_python_that_does_not_exist_is_the_configs_mistake(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^\S+/project/no_env does not exist\n"):
        provision("./no_env", (), project, lambda line: None)


def test_a_cache_that_cannot_be_written_says_what_to_set(project: Path, python: str, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(ServerStartError) as error:
        provision(python, (), project, lambda line: None)
    text = str(error.value)
    assert text.startswith(f"The venv {cache}/")
    assert text.endswith("\n  try: XDG_CACHE_HOME=/a/folder/you/may/write/to")


def test_uv_is_found_on_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv-of-path/uv"
    uv.parent.mkdir()
    uv.symlink_to(shutil.which("true") or "/bin/true")
    monkeypatch.setenv("PATH", str(uv.parent))
    assert discovery.find_uv() == (str(uv),)
