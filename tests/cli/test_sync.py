"""gym-service sync, lock and cache, as their users run them: real processes, real venvs, no network."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.interpreters import discovery
from support import their_repo, wheels
from support.wheels import base_python

COMMAND = (sys.executable, "-m", "gym_service")

pytestmark = [
    pytest.mark.slow,  # these do not depend on the client's version, so they run with the newest client only
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
    """A folder with two simulators' repositories and a place for an envs.toml."""
    for name in ("one", "two"):
        their_repo.write(tmp_path / "project" / name)
    return tmp_path / "project"


def write(project: Path, toml: str) -> None:
    (project / "envs.toml").write_text(toml.replace("PYTHON", f'python = "{base_python()}"'))


def run(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *words], cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def venvs(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.exists() else []


def install(venv: Path, repo: Path, version: str) -> None:
    """Change a package by hand."""
    for file in (repo / "pyproject.toml", repo / "backend.py"):
        file.write_text(file.read_text().replace("1.0", version))
    uv = discovery.find_uv()
    assert uv
    subprocess.run([*uv, "pip", "install", "-q", "--reinstall", "--python", venv / "bin/python", repo], check=True)


# -- sync ----------------------------------------------------------------------------------------------------------


def test_each_venv_is_built_once_and_each_name_has_a_line(project: Path, cache: Path) -> None:
    write(
        project,
        "[interpreters.shared]\nPYTHON\nrequires = ['./one']\n[interpreters.unused]\nPYTHON\nrequires = []\n"
        f"[envs.A]\ninterpreter = 'shared'\n[envs.Z]\npython = '{sys.executable}'\n[envs.B]\ninterpreter = 'shared'\n"
        "[envs.Gone]\npython = './nowhere'\n[envs.Server]\naddress = 'unix:///there'\n"
        "[envs.Option]\nPYTHON\nrequires = ['numpy', '--user']\n",
    )
    first = run(project, "sync")
    bare, shared = venvs(cache)
    assert first.stdout.splitlines() == [
        str(project / "envs.toml"),
        f"A                      built     {shared}",
        f"Z                      as it is  {sys.executable}",
        f"B                      built     {shared}",
        "Gone                   failed",
        "Server                 nothing   a server is attached to at unix:///there",
        "Option                 failed",
        f"[interpreters.unused]  built     {bare}",
    ]
    assert first.returncode == 1
    assert first.stderr.count("Building a venv ") == 2
    assert first.stderr.count(f"{project}/nowhere does not exist") == 1
    assert '.requires[1]: "--user" is an option that is not supported here; known are -e, -r, ' in first.stderr
    again = run(project, "sync", "gym_service/A", "shared")
    assert again.stdout.splitlines()[1:] == [
        f"A                      up to date  {shared}",
        f"[interpreters.shared]  up to date  {shared}",
    ]
    assert (again.returncode, "Building" in again.stderr) == (0, False)


def test_a_name_that_is_not_there_is_answered_with_the_nearest(project: Path) -> None:
    write(project, "[interpreters.shared]\nPYTHON\nrequires = []\n[envs.PushT-v0]\ninterpreter = 'shared'\n")
    done = run(project, "sync", "PushT-v1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"gym-service: {project}/envs.toml: there is no entry or interpreter 'PushT-v1'; did you mean \"PushT-v0\"?\n"
    )


@pytest.fixture
def building(project: Path) -> Iterator["subprocess.Popen[str]"]:
    """A ``sync`` of two venvs whose builds wait at their gates."""
    for name in ("one", "two"):
        os.mkfifo(project / name / "gate")
    write(project, "[envs.A]\nPYTHON\nrequires = ['./one']\n[envs.B]\nPYTHON\nrequires = ['./two']\n")
    command = [*COMMAND, "sync", "--jobs", "2"]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_several_are_built_at_once(project: Path, building: "subprocess.Popen[str]") -> None:
    # Each gate opens when its build reads it: neither build goes on before both have reached their gates.
    with open(project / "one/gate", "w"), open(project / "two/gate", "w"):
        pass
    output, _ = building.communicate()
    assert [line.split()[:2] for line in output.splitlines()[1:]] == [["A", "built"], ["B", "built"]]


def test_ctrl_c_ends_all_builds_and_leaves_nothing(
    project: Path, building: "subprocess.Popen[str]", cache: Path
) -> None:
    with open(project / "one/gate", "w"), open(project / "two/gate", "w"):
        assert len(venvs(cache)) == 4  # and their locks
        building.send_signal(signal.SIGINT)
        assert building.wait() == 130
    assert venvs(cache) == []


def test_on_a_terminal_the_builds_are_a_table_that_moves(project: Path) -> None:
    write(project, "[envs.A]\nPYTHON\nrequires = ['./one']\n")
    script = ["script", "-qec", " ".join([*COMMAND, "sync"]), "/dev/null"]
    done = subprocess.run(script, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "A  built" in done.stdout
    assert "\x1b[" in done.stdout


def test_a_package_that_was_changed_by_hand_is_told_with_both_versions(project: Path, cache: Path) -> None:
    write(project, "[envs.A]\nPYTHON\nrequires = ['./one']\n")
    run(project, "sync")
    (venv,) = venvs(cache)
    stamp = project / "one/pyproject.toml"
    times = stamp.stat()
    install(venv, project / "one", "1.2")
    os.utime(stamp, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = run(project, "sync")
    assert done.stdout.splitlines()[2:] == ["A: their-repo is 1.2; built was 1.0 (try: gym-service sync --rebuild A)"]
    assert done.returncode == 0
    run(project, "sync", "--rebuild")
    assert len(run(project, "sync").stdout.splitlines()) == 2


# -- lock ----------------------------------------------------------------------------------------------------------

RANDOM = """
import os
import gymnasium
import numpy as np
class Random(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (4,), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return np.frombuffer(os.urandom(4), np.uint8), {}
    def step(self, action):
        return np.frombuffer(os.urandom(4), np.uint8), 0.0, False, False, {}
"""


def locked_project(project: Path) -> Path:
    """A project with the simulator of the wheels, a random one, and one in a separate interpreter."""
    (project / "mine").mkdir()
    (project / "mine/randomly.py").write_text(RANDOM)
    write(
        project,
        f"[interpreters.sim]\nPYTHON\nrequires = {json.dumps(wheels.requires())}\n"
        "[envs.CartPole-v1]\ninterpreter = 'sim'\n"
        "[envs.Random]\ninterpreter = 'sim'\npythonpath = ['mine']\nentry_point = 'randomly:Random'\n"
        f"[envs.Bare]\npython = '{sys.executable}'\nid = 'CartPole-v1'\n"
        "[envs.Far]\naddress = 'unix:///nowhere'\n",
    )
    return project


def test_a_lock_pins_versions_and_plays_and_is_the_same_elsewhere(
    project: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked_project(project)
    # A Python on PATH that has nothing to do with it, such as pyenv's shims, which take seconds.
    shim = tmp_path / "shims" / f"python{wheels.VERSION}"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\nexit 1\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent), prepend=os.pathsep)
    done = run(project, "lock")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    text = (project / "envs.lock").read_text()
    for machine in ("://", str(tmp_path), os.uname().nodename, str(wheels.folder())):
        assert machine not in text
    data = json.loads(text)
    ((name, venv),) = data["venvs"].items()
    assert venv["python"].startswith(f"{wheels.VERSION}.")
    assert {key: one["version"] for key, one in venv["packages"].items()}.items() >= {
        ("gymnasium", "1.4.0"),
        ("numpy", "2.5.5"),
    }
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", one["hashes"][0]) for one in venv["packages"].values())
    envs = data["envs"]
    assert sorted(envs) == ["Bare", "CartPole-v1", "Random"]
    assert re.fullmatch("play1:[0-9a-f]{64}", envs["CartPole-v1"]["hash"])
    assert envs["CartPole-v1"]["hash"] == envs["Bare"]["hash"]
    assert (envs["CartPole-v1"]["venv"], "venv" in envs["Bare"]) == (name, False)
    assert (envs["Random"].get("hash"), envs["Random"]["no_hash"]) == (None, "two plays with the same seed differ")
    assert len(venvs(cache)) == 1  # the locked venv is the one that was played, and is not built again
    assert run(project, "sync").stdout.splitlines()[1].split()[:3] == ["CartPole-v1", "up", "to"]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    there = tmp_path / "there"
    (project / "mine").rename(tmp_path / "mine")
    there.mkdir()
    for path in (project / "envs.toml", project / "envs.lock", tmp_path / "mine"):
        path.rename(there / path.name)
    done = run(there, "sync", "--locked")
    assert done.returncode == 0, done.stdout
    assert "built" in done.stdout
    checked = run(there, "lock", "--check")
    assert checked.stdout == f"{there}/envs.lock: everything is as it is locked\n"
    assert checked.returncode == 0
    assert run(there, "lock").stdout.splitlines()[0] == f"{there}/envs.lock: unchanged"


@pytest.mark.long
def test_what_differs_from_the_lock_is_told_with_both_versions(project: Path, cache: Path) -> None:
    write(project, f"[envs.A]\nPYTHON\nrequires = {json.dumps(wheels.requires('./one'))}\nid = 'CartPole-v1'\n")
    assert run(project, "lock", "--no-play").returncode == 0
    data = json.loads((project / "envs.lock").read_text())
    (venv,) = data["venvs"].values()
    assert venv["packages"]["their-repo"] == {"version": "1.0", "source": "local"}
    venv["packages"]["cloudpickle"]["version"] = "3.1.1"
    venv["python"] = "3.13.99"
    (project / "envs.lock").write_text(json.dumps(data))
    # As if a user had changed the packages in the venv: it was built with other versions than the lock's.
    (folder,) = venvs(cache)
    marker = json.loads((folder / "gym-service.json").read_text())
    marker["packages"]["cloudpickle"] = "3.1.1"
    (folder / "gym-service.json").write_text(json.dumps(marker))
    done = run(project, "sync", "--locked")
    version = ".".join(map(str, discovery.query_version(folder / "bin/python")[0].split(".")))
    assert done.stdout.splitlines()[2:] == [
        f"A: Python is {version}; locked was 3.13.99 (try: gym-service sync --rebuild A)",
        "A: cloudpickle is 3.1.2; locked was 3.1.1 (try: gym-service sync --rebuild A)",
    ]
    assert done.returncode == 1
    assert run(project, "sync").returncode == 0
    checked = run(project, "lock", "--check", "--no-play")
    assert checked.stdout.count("locked was") == 2
    assert checked.returncode == 1


def test_a_lock_of_an_earlier_envs_toml_is_not_obeyed_and_locked_refuses_it(project: Path) -> None:
    write(project, "[envs.A]\nPYTHON\nrequires = ['./one']\n")
    absent = run(project, "sync", "--locked")
    assert (absent.returncode, absent.stderr) == (
        2,
        f"gym-service: {project}/envs.lock does not exist, and --locked needs it\n  try: gym-service lock\n",
    )
    assert run(project, "lock", "--no-play").returncode == 0
    assert run(project, "sync", "--locked").returncode == 0
    write(project, "[envs.A]\nPYTHON\nrequires = ['./two']\n")
    plain = run(project, "sync")
    assert (plain.returncode, plain.stdout.splitlines()[-1]) == (
        0,
        "A: envs.lock is about an earlier envs.toml and was not obeyed (try: gym-service lock)",
    )
    strict = run(project, "sync", "--locked")
    assert strict.returncode == 1
    assert strict.stderr.splitlines()[-2:] == [
        "envs.lock has no versions for 'A' as it stands in envs.toml",
        "  try: gym-service lock",
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2}, "its format is 2; this gym-service reads 1"),
        ({"venvs": None}, "is damaged (AttributeError: "),
        ({"venvs": {"v": {"packages": {"numpy\n--index-url=x": {"version": "1"}}}}}, "is damaged (ValueError: "),
        ({"venvs": {"v": {"packages": {"numpy": {"version": "1 --index-url=x"}}}}}, "is damaged (ValueError: "),
        (
            {"venvs": {"v": {"packages": {"numpy": {"version": "1", "source": "-r /etc/passwd"}}}}},
            "is damaged (ValueError: ",
        ),
    ],
)
def test_a_spoilt_lock_is_refused(project: Path, change: dict[str, Any], what: str) -> None:
    write(project, "[envs.A]\nPYTHON\nrequires = []\n")
    (project / "envs.lock").write_text(json.dumps({"format": 1, "venvs": {}, "envs": {}} | change))
    done = run(project, "sync")
    assert done.returncode == 2
    assert done.stderr.startswith(f"gym-service: {project}/envs.lock: {what}")


# -- cache ---------------------------------------------------------------------------------------------------------


def test_the_cache_has_names_that_people_recognise_and_forgets_what_nobody_asks_for(project: Path, cache: Path) -> None:
    empty = run(project, "cache", "list")
    assert (empty.stdout, empty.stderr, empty.returncode) == (f"{cache}\n", "there is no venv\n", 0)
    write(project, "[envs.A]\nPYTHON\nrequires = ['./one']\n[envs.B]\nPYTHON\nproject = './two'\n")
    run(project, "sync")
    one, two = venvs(cache)
    assert re.fullmatch(r"python3?(\.13)?-one-[0-9a-f]{10}", one.name)
    (cache / "py3.9-killed-0123456789").mkdir()
    write(project, "[envs.A]\nPYTHON\nrequires = ['./one']\n")
    listed = run(project, "cache", "list").stdout.splitlines()
    assert listed[0] == str(cache)
    assert [re.sub(" {2,}", "|", line) for line in listed[2:5]] == [
        "py3.9-killed-0123456789|incomplete|0 MiB|0 min ago",
        f"{one.name}|complete|{version(one)}|0 MiB|0 min ago|A",
        f"{two.name}|complete|{version(two)}|0 MiB|0 min ago|no entry any more",
    ]
    told = json.loads(run(project, "cache", "list", "--json").stdout)
    assert told[1]["asked_by"] == [{"file": str(project / "envs.toml"), "name": "A"}]
    dry = run(project, "cache", "prune", "--dry-run").stdout
    assert len(venvs(cache)) == 3
    done = run(project, "cache", "prune").stdout
    assert done == dry.replace("would be removed", "removed")
    assert done.splitlines() == [
        "py3.9-killed-0123456789: removed (incomplete)",
        f"{two.name}: removed (no envs.toml asks for it any more)",
        "2 venvs, 0 MiB",
    ]
    assert venvs(cache) == [one]
    assert run(project, "cache", "dir").stdout == f"{cache}\n"


def test_a_venv_in_use_is_neither_removed_nor_rebuilt(project: Path, cache: Path) -> None:
    write(project, f"[envs.A]\nPYTHON\nrequires = {json.dumps(wheels.requires())}\nid = 'CartPole-v1'\n")
    program = "import gym_service, sys; env = gym_service.make('A'); print('made', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout
        assert client.stdout.readline() == "made\n"
        (venv,) = venvs(cache)
        pruned = run(project, "cache", "prune", "--all")
        assert re.fullmatch(rf"{venv.name}: kept, in use by process \d+\n0 venvs, 0 MiB\n", pruned.stdout)
        rebuilt = run(project, "sync", "--rebuild")
        assert rebuilt.returncode == 1
        assert re.search(r"the venv of 'A' is in use by process \d+\n  try: gym-service stop A", rebuilt.stderr)
        assert (venv / "bin/python").exists()
    assert run(project, "cache", "prune", "--all").stdout.startswith(f"{venv.name}: removed (--all)\n")


def version(venv: Path) -> str:
    return discovery.query_version(venv / "bin/python")[0]
