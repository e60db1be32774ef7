"""Venvs on the remote side of a command: built there by code that travels; nothing of ours remains but the venv."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.errors import ServerStartError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.interpreters.find import find_interpreter
from support import polling, their_repo, wheels
from support.hosts import SshHost
from support.targets import REPOSITORY
from support.wheels import base_python

import gym_service

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache folder of the remote user."""
    return tmp_path / "cache"


def keys(place: list[str], cache: Path, **more: Any) -> dict[str, Any]:
    """The keys of an entry that builds its venv on the remote side, by default from the simulator's wheels."""
    environ = {"XDG_CACHE_HOME": str(cache), **more.pop("environ", {})}
    return {"command": place, "python": base_python(), "requires": wheels.requires(), "environ": environ, **more}


@pytest.fixture
def build_lines() -> Iterator[list[str]]:
    """The lines of the library's log, as they arrive, without those about a slow start."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not record.getMessage().startswith("waiting for"):
                lines.append(record.getMessage())

    lines: list[str] = []
    logger, handler = logging.getLogger("gym_service"), Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def uv_beside(folder: Path) -> Path:
    """A folder that contains uv, for the PATH of the remote side."""
    uv = discovery.find_uv()
    if uv is None or len(uv) > 1:
        pytest.skip("needs uv")
    there = folder / "bin"
    there.mkdir()
    shutil.copy2(uv[0], there)  # not a link: its target may be in this repository, which the remote side lacks
    return there


def venvs_in(cache: Path) -> list[Path]:
    folder = cache / "gym-service/venvs"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_venv_is_built_there_once_and_nothing_else_is_left(
    place: list[str], remote_envs: Path, cache: Path, build_lines: list[str]
) -> None:
    entry = keys(place, cache, imports=["reporting"], pythonpath=[str(remote_envs)])
    with gym_service.make("Reporting-v0", **entry) as env:
        (venv,) = venvs_in(cache)
        assert env.target["executable"] == f"{venv}/bin/python"
        assert env.call("names_in", str(REPOSITORY)) == []
        assert env.call("add", 1) == 1
    assert build_lines[0].startswith(f"Building a venv of Python {base_python()} with --no-index, ")
    assert venv.name.startswith("python-gymnasium-") or venv.name.startswith("python3")
    assert {path.name for path in cache.iterdir()} <= {"gym-service", "pip", "uv"}
    ours = [path for path in venv.rglob("*gym[-_]service*") if path.name != "gym-service.json"]
    assert ours == []
    build_lines.clear()
    with gym_service.make("Reporting-v0", **entry) as env:
        assert env.target["executable"] == f"{venv}/bin/python"
    assert build_lines == []


def test_the_uv_of_that_side_is_used_where_it_has_one(
    ssh: list[str], cache: Path, build_lines: list[str], remote_envs: Path, tmp_path: Path
) -> None:
    there = uv_beside(tmp_path)
    more = {"environ": {"PATH": f"{there}:{os.environ['PATH']}"}, "pythonpath": [str(remote_envs)]}
    with gym_service.make("Reporting-v0", **keys(ssh, cache, imports=["reporting"], **more)):
        pass
    assert not any("uv is not installed" in line for line in build_lines)
    assert " + gymnasium==1.4.0" in build_lines


def test_a_build_that_fails_there_says_so_once_and_leaves_nothing(
    ssh: list[str], cache: Path, build_lines: list[str]
) -> None:
    with pytest.raises(ServerStartError) as error:
        gym_service.make("X-v0", **keys(ssh, cache, requires=["--no-index", "nothing-of-that-name"]))
    text = str(error.value)
    assert text.startswith("the venv of 'X-v0' was not built on the remote side (")
    assert text.count("No matching distribution found for nothing-of-that-name") == 1
    assert not any("No matching distribution" in line for line in build_lines)
    assert text.endswith("\n  try: a version of nothing-of-that-name that the index has")
    assert error.value.exit_code == 1
    assert venvs_in(cache) == []


@pytest.mark.parametrize("place_name", ["ssh", pytest.param("docker", marks=pytest.mark.long)])
def test_a_client_that_dies_takes_the_build_along(
    places: dict[str, list[str]], place_name: str, cache: Path, tmp_path: Path
) -> None:
    place = places[place_name]
    repo = their_repo.write(tmp_path / "project/their_repo") / "their_repo"
    os.mkfifo(repo / "gate")
    program = f"import gym_service; gym_service.make('X-v0', **{keys(place, cache, requires=[str(repo)])!r})"
    client = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    # Opens when the build reads it, so an installer is running on the remote side.
    with open(repo / "gate", "w"):
        assert venvs_in(cache) != []
        client.send_signal(signal.SIGKILL)
        client.wait()
        polling.until(lambda: venvs_in(cache) == [], "the end of the build over there")


def test_what_is_not_synced_is_not_built_where_that_is_forbidden(ssh_host: SshHost, cache: Path) -> None:
    with pytest.raises(ServerStartError) as error:
        gym_service.make("X-v0", **keys(ssh_host.command("bash"), cache, requires=[], auto_sync=False))
    assert str(error.value) == "the venv of 'X-v0' is not built, and auto_sync is false\n  try: auto_sync=True"
    assert venvs_in(cache) == []


def test_sync_builds_there_and_leaves_no_server(ssh_host: SshHost, cache: Path, tmp_path: Path) -> None:
    words = ", ".join(f'"{word}"' for word in ssh_host.command("bash"))
    (tmp_path / "envs.toml").write_text(
        f'[envs.X]\ncommand = [{words}]\npython = "{base_python()}"\nrequires = []\n'
        f'environ = {{ XDG_CACHE_HOME = "{cache}" }}\nsystem_packages = ["bash", "no-such-package"]\n'
    )
    command = [sys.executable, "-m", "gym_service", "sync"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    (venv,) = venvs_in(cache)
    assert first.stdout.splitlines() == [
        str(tmp_path / "envs.toml"),
        f"X  built  {venv}",
        "X: system_packages: not installed: no-such-package (try: apt-get install no-such-package)",
    ]
    assert first.returncode == 0
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.stdout.splitlines()[1] == f"X  up to date  {venv}"


@pytest.mark.long
def test_a_lock_pins_what_is_installed_there_and_is_obeyed_there(
    ssh_host: SshHost, cache: Path, tmp_path: Path
) -> None:
    """Takes half a minute: two builds, and four runs over ssh."""
    path = f"{uv_beside(tmp_path)}:{os.environ['PATH']}"
    entry = keys(ssh_host.command("bash"), cache)
    lines = [f"{key} = {json.dumps(entry[key])}" for key in ("command", "python", "requires")]
    lines += [f'environ = {{ XDG_CACHE_HOME = "{cache}", PATH = "{path}" }}']
    far = ["[envs.Far]", 'id = "CartPole-v1"', *lines]
    (tmp_path / "envs.toml").write_text("\n".join(far))

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "gym_service", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("lock")
    text = (tmp_path / "envs.lock").read_text()
    locked = json.loads(text)
    ((name, venv),) = locked["venvs"].items()
    installed = {key: one["version"] for key, one in venv["packages"].items()}
    assert installed.items() >= {("gymnasium", "1.4.0"), ("numpy", "2.5.5")}
    assert all(one["hashes"] for one in venv["packages"].values())
    assert locked["envs"]["Far"]["venv"] == name
    assert locked["envs"]["Far"]["hash"].startswith("play1:")
    assert str(tmp_path) not in text

    shutil.rmtree(cache)  # stands for another host
    assert "built" in run("sync", "--locked")
    assert "everything is as it is locked" in run("lock", "--check")
    (there,) = venvs_in(cache)
    near = f'\n[envs.Near]\nid = "CartPole-v1"\npython = "{there}"\n'
    (tmp_path / "envs.toml").write_text("\n".join(far) + near)
    run("lock", "Near")
    envs = json.loads((tmp_path / "envs.lock").read_text())["envs"]
    assert envs["Near"]["hash"] == envs["Far"]["hash"]  # the same run without ssh


@pytest.mark.long
def test_gym_021_is_built_there_by_its_python_36(ssh: list[str], cache: Path) -> None:
    """Takes some two minutes, and needs a network: the oldest Python on the remote side, without uv."""
    given = keys(ssh, cache, requires=["gym==0.21.0"], python=str(find_interpreter("3.6", REPOSITORY)))
    with gym_service.make("CartPole-v1", **given) as env:
        assert env.target["python"].startswith("3.6.")
        env.reset(seed=1)
