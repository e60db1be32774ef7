"""``gym-service shell`` and ``gym-service debug`` in a real terminal (tmux). Python 3.10."""

import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from support.paths import ENVS
from support.targets import TARGETS
from support.terminal import Terminal, tmux

import gym_service
from gym_service import RemoteEnv
from gym_service.cli import main

LIMIT_S = 40.0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with tmux(tmp_path / "tmux") as made:
        yield made


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The text of a gym-service command line, for an envs.toml with the entry Stopping."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (tmp_path / "setup.sh").write_text("export FROM_SCRIPT=yes\n")
    (tmp_path / "envs.toml").write_text(
        f'[envs."Stopping"]\npython = "{TARGETS["py312-gymnasium14"].python()}"\npythonpath = ["{ENVS}"]\n'
        'entry_point = "stopping:StoppingEnv"\nactivate = "setup.sh"\nenviron = { OWN = "$FROM_SCRIPT {index}" }\n'
        'timeouts = { step = 0.5 }\n[envs."Far"]\naddress = "unix:///there"\n'
    )
    monkeypatch.setenv("GYM_SERVICE_ENVS", str(tmp_path / "envs.toml"))
    path = os.pathsep.join(filter(None, sys.path))

    def text(*words: str) -> str:
        variables = {"PYTHONPATH": path, "XDG_RUNTIME_DIR": str(runtime), "GYM_SERVICE_ENVS": tmp_path / "envs.toml"}
        given = [f"{name}={value}" for name, value in variables.items()]
        return shlex.join(["env", *given, sys.executable, "-m", "gym_service", *words])

    return text


@pytest.mark.slow
def test_pdb_stops_the_simulator_while_the_client_steps(
    terminal: Terminal, command: Callable[..., str], tmp_path: Path
) -> None:
    terminal.type(command("debug", "Stopping"))
    address = terminal.until(r"^(unix://\S+)$")[1]
    terminal.until(r"waiting for: gym\.make")
    gym_service.use(os.environ["GYM_SERVICE_ENVS"])
    env = gymnasium.make(
        "gym_service/Stopping", service={"address": address, "timeouts": {"start": None, "step": 0.5}}
    ).unwrapped
    assert isinstance(env, RemoteEnv)
    answers: list[Any] = []
    try:
        env.reset()
        stepping = threading.Thread(target=lambda: answers.append(env.step(0)))
        stepping.start()
        terminal.until(r"^\(Pdb\)\s*\Z")
        stepping.join(1.0)  # longer than the entry's time limit for a step
        assert stepping.is_alive()
        terminal.type("p self.steps + 1")
        terminal.until("^42$")
        terminal.type("self.steps = 7")
        terminal.type("continue")
        stepping.join(LIMIT_S)
        assert answers == [(1, 7.0, False, False, {})]
        assert env.call("steps.__add__", 1) == 8
    finally:
        env.close()
        (tmp_path / "empty.toml").write_text("")
        gym_service.use(tmp_path / "empty.toml")
    terminal.type("echo ended $?")
    terminal.until(r"^(# )?ended 0$")


@pytest.mark.slow
def test_shell_is_a_prompt_in_the_servers_environment(terminal: Terminal, command: Callable[..., str]) -> None:
    terminal.type(command("shell", "Stopping"))
    terminal.until("^>>>")
    terminal.type('import os, sys, stopping; print(os.environ["OWN"], sys.version_info[:2], os.isatty(0))')
    terminal.until(r"^yes 0 \(3, 12\) True$")
    terminal.type("exit(3)")
    terminal.type("echo ended $?")
    terminal.until(r"^(# )?ended 3$")
    terminal.type(command("shell", "Stopping", "-c", "print('a' * 3)"))
    terminal.until("^aaa$")


@pytest.mark.parametrize("name", ["shell", "debug"])
def test_a_simulator_elsewhere_and_an_unknown_entry_say_so(
    name: str, command: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([name, "Far"]) == 2
    assert f"at unix:///there, and this terminal is not there\n  try: gym-service {name} on" in capsys.readouterr().err
    assert main.main([name, "Stoping"]) == 2
    assert "'Stopping'" in capsys.readouterr().err
