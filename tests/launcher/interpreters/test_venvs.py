"""Venvs built by the real uv from a package in a folder: no network, and real processes."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.config.entry import entry
from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.interpreters.discovery import find_versions
from gym_service_launcher.interpreters.venv_spec import spec_of
from gym_service_launcher.interpreters.venvs import Progress, Wanted, provide, provision
from gym_service_launcher.standalone import build_commands, installed_packages, venv_builder
from support import their_repo

# A client that builds the venv, and reports each line as it arrives.
CLIENT = """
import sys
from pathlib import Path
from gym_service_launcher.config.entry import entry
from gym_service_launcher.interpreters.venvs import provision
keys = {"python": sys.argv[1], "requires": ["./their_repo"]}
print(provision(entry("Sim-v0", keys, file=Path(sys.argv[2], "envs.toml")), lambda line: print(line, flush=True)))
"""


def built(python: str, requires: Sequence[str] | None, folder: Path, progress: Progress = print, **keys: Any) -> Path:
    """The bin/python of the venv for an entry with these keys, in an envs.toml in this folder."""
    keys = {"python": python, "requires": requires, **keys}
    return provision(entry("Sim-v0", keys, file=folder / "envs.toml"), progress)


# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        discovery.find_uv() is None and "CI" not in os.environ, reason="uv is not installed: pip install uv"
    ),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # uv keeps the wheels that it has built, but each test must build its own.
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return tmp_path / "cache/gym-service/venvs"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that contains a simulator's repository."""
    return their_repo.write(tmp_path / "project/their_repo")


@pytest.fixture
def python() -> str:
    """The Python on which this test run is based: not the venv that it may run in."""
    return str(Path(sys.base_prefix) / "bin/python3")


@pytest.fixture
def clients() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that are ended after the test, however it ends."""
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
    executable = built(python, ("./their_repo",), project, said.append)
    assert executable == cache / executable.parts[-3] / "bin/python"
    assert answer(executable) == "42"
    assert said[0] == f"Building a venv of Python {python} with ./their_repo in {executable.parent.parent}"
    assert any("their-repo==1.0" in line for line in said), said
    assert not any(line.endswith("\n") for line in said)
    again: list[str] = []
    assert built(python, ("./their_repo",), project, again.append) == executable
    assert again == []


def test_the_content_of_the_table_decides_which_venv(project: Path, python: str) -> None:
    bare, plain = built(python, (), project), built(python, ("./their_repo",), project)
    assert len({bare, plain, built(python, ("-e ./their_repo",), project)}) == 3
    first = built(python, ("their-repo @ ./their_repo",), project)
    os.utime(project / "their_repo/pyproject.toml", ns=(1, 1))
    assert built(python, ("their-repo @ ./their_repo",), project) != first


@pytest.mark.parametrize("minor", ["3.8", "3.10", "3.12"])
def test_a_version_is_enough(project: Path, minor: str) -> None:
    if not any(version.startswith(f"{minor}.") for version, _ in find_versions()):
        pytest.skip(f"there is no Python {minor} on PATH, in pyenv or in conda")
    executable = built(minor, ("./their_repo",), project)
    assert discovery.query_version(executable)[0].startswith(f"{minor}.")
    assert answer(executable) == "42"


def test_the_clients_own_variables_lead_nowhere(
    project: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "encodings.py").write_text("raise SystemExit('the client is in here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    executable = built(python, ("./their_repo",), project)
    assert (executable.parent.parent / "gym-service.json").is_file()


def test_a_failure_ends_with_the_words_of_uv_and_leaves_nothing(project: Path, python: str, cache: Path) -> None:
    broken = project / "their_repo/broken"
    broken.write_text("")
    said: list[str] = []
    with pytest.raises(ServerStartError) as error:
        built(python, ("./their_repo",), project, said.append)
    facts = error.value.__dict__
    assert facts["exit_code"] != 0
    assert facts["interpreter"] == python
    assert facts["argv"][-1] == "./their_repo"
    assert "this package cannot be built" in facts["tail"]
    text = str(error.value).splitlines()
    assert text[0] == f"the venv of 'Sim-v0' was not built: uv failed (exit code {facts['exit_code']})"
    assert text[1].startswith("  command: ")
    assert (
        text[-1] == "  try: other versions for 'Sim-v0', or build_requires and system_packages for what a build lacks"
    )
    assert [line[4:] for line in text[2:-1]] == facts["tail"].splitlines()
    assert not set(facts["tail"].splitlines()) & set(said)  # its output is in the error and nowhere else
    assert list(cache.iterdir()) == []
    broken.unlink()
    assert answer(built(python, ("./their_repo",), project)) == "42"


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
    assert [path.name for path in cache.iterdir()] == [venv.name]


def test_a_build_that_was_killed_is_begun_again(
    project: Path, python: str, clients: list["subprocess.Popen[str]"]
) -> None:
    gate = project / "their_repo/gate"
    os.mkfifo(gate)
    first = client(clients, python, project)
    venv = Path(next(lines(first)).rpartition(" ")[2])
    with gate.open("w"):  # opens when the build reads it, so uv is in the middle of the build
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert not (venv / "gym-service.json").exists()
        # The builder's uv lives on and holds the lock, so that no other process builds beside it.
        lock = os.open(f"{venv}.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)
        gate.unlink()
    said: list[str] = []
    executable = built(python, ("./their_repo",), project, said.append)
    assert executable == venv / "bin/python"
    assert any(line.startswith("Building a venv ") for line in said)
    assert answer(executable) == "42"


def test_a_venv_without_its_marker_is_built_anew(project: Path, python: str) -> None:
    executable = built(python, ("./their_repo",), project)
    venv = executable.parent.parent
    (venv / "gym-service.json").unlink()
    (venv / "left-over").write_text("")
    assert built(python, ("./their_repo",), project) == executable
    assert not (venv / "left-over").exists()


def test_a_venv_whose_python_is_gone_or_another_one_is_built_anew(project: Path, python: str) -> None:
    executable = built(python, (), project)
    executable.unlink()
    executable.symlink_to(project / "gone")
    assert built(python, (), project) == executable
    assert discovery.query_version(executable)[1] == executable
    marker = executable.parent.parent / "gym-service.json"
    before = json.loads(marker.read_text())
    marker.write_text(json.dumps(before | {"minor": "3.1"}))
    said: list[str] = []
    built(python, (), project, said.append)
    assert said[0].startswith("Building a venv ")
    assert json.loads(marker.read_text()) == before


def test_progress_that_raises_ends_uv(project: Path, python: str) -> None:
    os.mkfifo(project / "their_repo/gate")

    def interrupted(line: str) -> None:
        if "Using" in line:  # the first word that uv prints
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(python, ("./their_repo",), project, interrupted)
    (project / "their_repo/gate").unlink()
    assert answer(built(python, ("./their_repo",), project)) == "42"


def test_without_uv_pip_builds(project: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if discovery.find_uv():
        pytest.skip("needs a Python without uv in its environment")
    said: list[str] = []
    executable = built(python, ("./their_repo",), project, said.append)
    assert said[1] == "uv is not installed: pip builds the venv"
    assert answer(executable) == "42"


def test_a_python_that_does_not_exist_is_the_configs_mistake(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^\S+/project/no_env does not exist\n"):
        built("./no_env", (), project)


def test_a_cache_that_cannot_be_written_says_what_to_set(project: Path, python: str, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(ServerStartError) as error:
        built(python, (), project)
    text = str(error.value)
    assert text.startswith("the venv of 'Sim-v0' cannot be built: ")
    assert str(cache) in text
    assert text.endswith("\n  try: XDG_CACHE_HOME=/a/folder/you/may/write/to")


def test_uv_is_found_on_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv-of-path/uv"
    uv.parent.mkdir()
    uv.symlink_to(shutil.which("true") or "/bin/true")
    monkeypatch.setenv("PATH", str(uv.parent))
    assert discovery.find_uv() == (str(uv),)


def test_a_project_is_installed_editable_with_what_it_needs(project: Path, python: str) -> None:
    executable = built(python, None, project, project="./their_repo")
    assert installed_packages.versions(str(executable.parent.parent)) == {"their-repo": "1.0"}


def test_a_folder_that_is_no_project_is_refused_with_what_it_has(tmp_path: Path, python: str) -> None:
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/requirements.txt").write_text("numpy\n")
    with pytest.raises(ConfigError) as error:
        built(python, None, tmp_path, project="./paper")
    assert str(error.value) == (
        f'{tmp_path}/envs.toml: envs."Sim-v0".project: {tmp_path}/paper has neither pyproject.toml nor setup.py, '
        'so that nothing can be installed from it\n  try: requirements = "./paper/requirements.txt" and '
        'pythonpath = ["./paper"] in the entry, without project'
    )


def test_a_requirements_file_is_part_of_what_decides_the_venv(project: Path, python: str) -> None:
    file = project / "lists/all.txt"
    file.parent.mkdir()
    # Relative to the file that contains the line, whichever file includes that.
    file.write_text("-r more.txt  # a comment\n")
    (project / "lists/more.txt").write_text("../their_repo \\\n  ; python_version > '3'\n")
    first = built(python, None, project, requirements="lists/all.txt")
    assert answer(first) == "42"
    (project / "lists/more.txt").write_text("\n")
    assert built(python, None, project, requirements="lists/all.txt") != first


def test_what_is_to_be_run_at_last_is_run_in_the_venv_and_may_fail(project: Path, python: str, cache: Path) -> None:
    write = "import sys; open('written', 'w').write(sys.prefix)"
    executable = built(python, (), project, post=[["python", "-c", write]])
    assert (project / "written").read_text() == str(executable.parent.parent)
    with pytest.raises(ServerStartError, match=r"python failed \(exit code 3\)") as error:
        built(python, (), project, post=[["python", "-c", "print('the last words'); raise SystemExit(3)"]])
    assert error.value.tail == "the last words"
    assert [path.name for path in cache.iterdir()] == [executable.parent.parent.name]


def test_what_builds_need_is_installed_first_and_seen_by_them(project: Path, python: str) -> None:
    tool = project / "tool"
    shutil.copytree(project / "their_repo", tool)
    for file in tool.iterdir():
        file.write_text(file.read_text().replace("their-repo", "tool").replace("their_repo", "tool"))
    (tool / "their_repo.py").rename(tool / "tool.py")
    backend = project / "their_repo/backend.py"
    backend.write_text(f"import tool\n{backend.read_text()}")
    with pytest.raises(ServerStartError, match="No module named 'tool'"):
        built(python, ("./their_repo",), project)
    executable = built(python, ("./their_repo",), project, build_requires=["./tool"])
    assert answer(executable) == "42"


def test_what_is_not_synced_is_not_built_where_that_is_forbidden(project: Path, python: str, cache: Path) -> None:
    with pytest.raises(ServerStartError) as error:
        built(python, ("./their_repo",), project, auto_sync=False)
    assert str(error.value) == (
        "the venv of 'Sim-v0' is not built, and auto_sync is false\n  try: gym-service sync Sim-v0"
    )
    assert not cache.exists()
    executable = built(python, ("./their_repo",), project)
    assert built(python, ("./their_repo",), project, auto_sync=False) == executable


def test_nobody_waits_any_more_and_nothing_is_left(project: Path, python: str, cache: Path) -> None:
    os.mkfifo(project / "their_repo/gate")
    watched, ours = os.pipe()

    def leave(line: str) -> None:
        if "Using" in line:  # uv has started, and will wait at the gate
            os.close(ours)

    spec = spec_of(entry("Sim-v0", {"python": python, "requires": ["./their_repo"]}, file=project / "envs.toml"))
    assert spec
    with pytest.raises(build_commands.GivenUp):
        provide(spec, Wanted(watched=(watched,)), leave)
    os.close(watched)
    assert list(cache.iterdir()) == []


def test_a_lock_that_is_gone_is_not_the_lock(tmp_path: Path) -> None:
    """A process that waits for a lock file which its holder removes must lock the next file, not the removed one."""
    venv = str(tmp_path / "venv")
    held = []
    with venv_builder.locked(venv, print) as first:
        waiter = threading.Thread(target=lambda: held.append(_hold(venv)))
        waiter.start()
        assert os.fstat(first).st_nlink == 1
    waiter.join()
    assert held == [1]
    assert list(tmp_path.iterdir()) == []


def _hold(venv: str) -> int:
    with venv_builder.locked(venv, print) as lock:
        return os.fstat(lock).st_nlink
