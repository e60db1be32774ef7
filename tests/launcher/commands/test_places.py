"""The same env id over a command: what is on the remote side, what travels there, and what does not."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from support import hosts, procfs
from support.hosts import Engine, SshHost
from support.paths import REPOSITORY
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

OLDEST, NEWEST = "py36-gym021", "py313-gymnasium14"


def python_of(target: str) -> str:
    return str(TARGETS[target].python())


@contextmanager
def reporting(command: list[str], remote_envs: Path, target: str = NEWEST, **given: Any) -> Iterator[RemoteEnv]:
    keys = {"imports": ["reporting"], "pythonpath": [str(remote_envs)], "python": python_of(target)}
    env = gym_service.make("Reporting-v0", command=command, **{**keys, **given})
    try:
        yield env
    finally:
        env.close()


@pytest.mark.parametrize("target", [OLDEST, NEWEST])
def test_nothing_of_ours_lies_over_there(place: list[str], remote_envs: Path, target: str) -> None:
    with reporting(place, remote_envs, target) as env:
        assert env.call("names_in", str(REPOSITORY)) == []
        files = env.call("modules")
        ours = {name: path for name, path in files.items() if name.partition(".")[0] == "gym_service"}
        assert {"gym_service.protocol.frames", "gym_service.server.loop"} <= set(ours)
        assert all("/(sent)/gym_service/" in path for path in ours.values())
        assert all(os.path.exists(path) for name, path in files.items() if name not in ours and "(" not in path)
        assert env.target["executable"] == python_of(target)
        assert env.call("process")["flags"] == [0, 0, 0]
        assert not {"", env.call("process")["cwd"]} & set(env.call("path"))
        fds = env.call("fds_of_a_child")
    assert re.sub(r"'\d+': '/proc/\d+/fd'", "", fds).count(": ") == 3, fds


def test_what_is_said_of_paths_and_variables_is_of_the_other_side(
    place: list[str], remote_envs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OUR_OWN", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MUJOCO_GL", "DISPLAY"):
        monkeypatch.setenv(name, "/of/the/client")
    monkeypatch.delenv("DISPLAY")
    secret = uuid.uuid4().hex
    environ = {"SECRET": secret, "SDL_VIDEODRIVER": "", "NAME": "naïve ✓"}
    up = "../" * 20  # from any working directory on the remote side
    keys = {"environ": environ, "cwd": f"{up}{tmp_path}", "pythonpath": [f"{up}{remote_envs}", "/no/such"]}
    is_job = Path(place[0]).name == "srun"  # srun passes everything on
    with reporting(place, remote_envs, **keys) as env:
        found = env.call("environ")
        assert [found.get(name) for name in environ] == list(environ.values())
        assert ("OUR_OWN" in found) == is_job
        assert found["PYTHONPATH"].split(":") == [str(remote_envs), "/no/such"]
        assert not {"PYTHONHOME", "VIRTUAL_ENV"} & set(found)
        assert found.get("MUJOCO_GL") == ("/of/the/client" if is_job else None)
        assert found["PATH"].split(":")[0] == str(Path(python_of(NEWEST)).parent)
        assert env.call("process")["cwd"] == str(tmp_path)
        argvs = b"".join(procfs.argv(pid) for pid in procfs.all_pids())
        assert b"-m\0code\0" in argvs
        assert secret.encode() not in argvs


@pytest.mark.parametrize("shell", hosts.SHELLS)
def test_any_shell_may_stand_between(ssh_host: SshHost, remote_envs: Path, shell: str) -> None:
    hosts.need_shell(shell)
    with reporting(ssh_host.command(shell), remote_envs) as env:
        assert env.call("add", 1, other=2) == 3


@pytest.mark.parametrize("size_bytes", [60_000, 1_000_000])
def test_a_place_that_prints_much_before_it_reads(size_bytes: int) -> None:
    """More output than the pipe to us holds, while the pipe to it holds less than is sent. Neither side may block."""
    greeting = f"head -c {size_bytes} /dev/zero | tr '\\0' x; exec \"$@\""
    env = gym_service.make("CartPole-v1", command=["sh", "-c", greeting, "sh"], python=python_of(NEWEST))
    try:
        assert env.reset(seed=3)[0].shape == (4,)
    finally:
        env.close()


def test_two_shells_may_stand_between(ssh_host: SshHost, remote_envs: Path) -> None:
    joining = ["sh", "-c", 'exec sh -c "$*"', "sh"]  # joins the words once more, as ssh does
    with reporting([*joining, *ssh_host.command("dash")], remote_envs) as env:
        assert env.call("add", 1) == 1


def test_the_short_form_of_ssh(
    ssh_host: SshHost, remote_envs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content of a user's ~/.ssh/config is in a file of the test, which this ssh is told to read."""
    venv = Path(python_of(NEWEST)).parent.parent
    spaced = tmp_path / "a venv; of mine"
    spaced.symlink_to(venv)
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec {hosts.which("ssh")} -F {ssh_host.folder}/config_with_key "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for path in (venv, spaced):
        url = f"ssh://{ssh_host.user}@127.0.0.1:{ssh_host.port}{path}"
        env = gym_service.make("Reporting-v0", python=url, imports=["reporting"], pythonpath=[str(remote_envs)])
        assert env.target["executable"] == f"{path}/bin/python"
        env.close()


def test_an_entry_in_a_file(engine: Engine, remote_envs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ", ".join(f'"{word}"' for word in engine.docker)
    (tmp_path / "envs.toml").write_text(
        f'[envs."Far-v0"]\ncommand = [{words}]\npython = "{python_of(NEWEST)}"\nid = "Reporting-v0"\n'
        f'imports = ["reporting"]\npythonpath = ["{remote_envs}"]\n'
    )
    monkeypatch.setenv("GYM_SERVICE_ENVS", str(tmp_path / "envs.toml"))
    gym_service.use(tmp_path / "envs.toml")
    with gym.make("gym_service/Far-v0") as env:
        env.reset(seed=1)
        assert env.unwrapped.call("process")["pid"] < 100  # a separate process namespace
        assert env.spec is not None
        assert env.spec.max_episode_steps == 5
        assert env.unwrapped.call(lambda env, number: number + 1, 2) == 3
    listed = subprocess.run(
        [sys.executable, "-m", "gym_service", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    line = next(line for line in listed.stdout.splitlines() if line.startswith("Far-v0"))
    assert re.fullmatch(
        rf"Far-v0 +not tried +\S+/docker run -i --rm sim:1 {python_of(NEWEST)}  will be run by the first .*", line
    )
    assert listed.returncode == 0


def test_vector_envs(ssh: list[str]) -> None:
    from support.vector_play import actions_for, played  # needs Gymnasium 1.4

    given = {"python": python_of(NEWEST), "workers": 3, "autoreset_mode": "SameStep", "max_episode_steps": 9}
    results = []
    for command in ([], ssh):
        envs = gym_service.make_vec("CartPole-v1", 5, command=command, **given)
        results.append(played(envs, actions_for(envs, 20)))
        envs.close()
    assert same(*results)


def test_pictures_travel_coded_and_arrive_as_they_were(ssh: list[str]) -> None:
    given: dict[str, Any] = {"python": python_of(NEWEST), "render_mode": "rgb_array"}
    pictures = []
    for command, frames in (([], "raw"), (ssh, "auto")):
        env = gym_service.make("CartPole-v1", command=command, frames=frames, **given)
        env.reset(seed=3)
        shown = [env.render()]
        for number in range(12):
            env.step(number % 2)
            shown.append(env.render())
        pictures.append(shown)
        if command:
            assert env.target["frames"] == "auto"
            assert env._connection._channel.image_codec is not None
        env.close()
    assert all(np.array_equal(*pair) for pair in zip(*pictures, strict=True))
