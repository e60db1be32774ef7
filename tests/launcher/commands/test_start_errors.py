"""Servers over a command that fail to start: what happened, where, the evidence, and what to try."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.hosts import Engine, SshHost
from support.targets import TARGETS, find_interpreter

import gym_service
from gym_service import errors

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

TARGET = "py312-gymnasium14"


@contextmanager
def refused(command: list[str], error: type[Exception] = errors.ServerStartError, **given: Any) -> Iterator[Any]:
    """Assert that no env is made and that the error says what to try. Yields the error's lines after the first."""
    keys = {"python": str(TARGETS[TARGET].python()), "timeouts": {"start": 60}}
    with pytest.raises(error) as caught:
        gym_service.make("CartPole-v1", command=command, **{**keys, **given})
    assert "  try: " in str(caught.value).splitlines()[-1]
    yield caught.value


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("the server of 'CartPole-v1' did not start: ")


def advice(error: Exception) -> str:
    return str(error).splitlines()[-1].removeprefix("  try: ")


def test_a_command_that_is_not_on_this_machine() -> None:
    with refused(["no-such-command", "host"]) as error:
        assert first_line(error) == "no-such-command: no folder of PATH on this machine has such a command"
        assert error.argv[:2] == ("no-such-command", "host")


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("no program")
    with refused([str(tmp_path / "ssh"), "host"]) as error:
        assert first_line(error) == f"{tmp_path}/ssh: Permission denied"


def test_a_host_that_nobody_knows(ssh_host: SshHost) -> None:
    with refused(ssh_host.command("sh", "-o", f"UserKnownHostsFile={ssh_host.folder}/nobody_known")) as error:
        assert first_line(error) == "ssh: exit code 255: Host key verification failed."
        assert error.exit_code == 255
        assert advice(error).startswith("once by hand, to see the host's key and accept it: ssh -F ")
        assert advice(error).endswith("/bin/python --version")


def test_a_user_that_the_host_does_not_know(ssh_host: SshHost) -> None:
    with refused(ssh_host.command("unknown")) as error:
        assert "Permission denied (publickey)" in first_line(error)
        assert advice(error).startswith("a key that needs no typing")


def test_a_port_where_nobody_listens(ssh_host: SshHost) -> None:
    with refused(["ssh", "-F", "none", "-p", "1", "127.0.0.1"]) as error:
        assert first_line(error) == "ssh: exit code 255: ssh: connect to host 127.0.0.1 port 1: Connection refused"
        assert advice(error).startswith("ssh -F none -p 1 127.0.0.1 ")


@pytest.mark.parametrize("python", ["/no/such/python", "/etc", "no-such-python"])
def test_an_interpreter_that_is_not_over_there(ssh_host: SshHost, engine: Engine, python: str) -> None:
    for command in (ssh_host.command("bash"), engine.docker, engine.srun):
        with refused(command, python=python) as error:
            assert error.exit_code == 127
            name = {"/etc": "/etc/bin/python"}.get(python, python)
            assert name in first_line(error)
            assert "not found" in first_line(error) or "No such file" in first_line(error)
            assert advice(error) == f'python = "…", the full path of an interpreter there; {name} does not run'


def test_an_image_that_is_not_there(engine: Engine) -> None:
    with refused(engine.command("docker", "run", "-i", "--rm", "sim:2")) as error:
        docker = engine.folder / "docker"
        assert first_line(error).startswith(f"{docker}: exit code 125: docker: Error response from daemon: pull access")
        assert "Unable to find image" in error.tail


def test_an_account_that_may_not_log_in() -> None:
    with refused(["sh", "-c", "echo This account is currently not available.; exit 1"]) as error:
        assert first_line(error) == "sh: exit code 1: This account is currently not available."


def test_an_interpreter_that_is_too_old() -> None:
    python = find_interpreter("2.7")
    if python is None:
        pytest.skip("needs Python 2.7, which is not on this machine and which CI does not have")
    with refused(["env"], python=str(python)) as error:
        assert first_line(error) == f"{python} on the remote side is older than Python 3.6"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty venv."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([TARGETS[TARGET].python(), "-m", "venv", "--without-pip", folder], check=True)
    return folder


def test_an_interpreter_without_numpy(ssh_host: SshHost, bare: Path) -> None:
    with refused(ssh_host.command("bash"), python=str(bare)) as error:
        assert first_line(error) == "ModuleNotFoundError: No module named 'numpy'"
        assert error.exit_code == 1
        assert 'File "(sent)/gym_service/' in error.tail
        assert "    import numpy as np" in error.tail  # although no disk has that file
        assert advice(error) == f"{bare}/bin/python -m pip install numpy, on the remote side"


def test_an_interpreter_without_gym(engine: Engine, bare: Path, tmp_path: Path) -> None:
    words = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([TARGETS[TARGET].python(), "-c", words], text=True).strip())
    for found in site.glob("numpy*"):
        (tmp_path / found.name).symlink_to(found)
    with refused(engine.docker, python=str(bare), pythonpath=[str(tmp_path)]) as error:
        assert first_line(error) == "ModuleNotFoundError: neither gymnasium nor gym is installed in this interpreter"
        assert advice(error).startswith(f"install it for {bare}/bin/python on the remote side")


def test_a_module_that_is_not_over_there(engine: Engine) -> None:
    with refused(engine.srun, imports=["no_such_module"]) as error:
        assert first_line(error) == "ModuleNotFoundError: No module named 'no_such_module'"
        assert " -m pip install no-such-module, on the remote side; or name the folder of no_such_mod" in advice(error)


def test_a_simulator_that_dies_at_import(engine: Engine, remote_envs: Path) -> None:
    given = {"imports": ["misbehaving"], "pythonpath": [str(remote_envs)], "environ": {"MISBEHAVE": "SIGSEGV"}}
    with refused(engine.srun, **given) as error:
        assert first_line(error) == "killed by SIGSEGV (signal 11)"
        assert error.exit_code == -11
        assert "last words" in error.tail


def test_a_simulators_own_error(engine: Engine, remote_envs: Path) -> None:
    given = {"imports": ["misbehaving"], "pythonpath": [str(remote_envs)], "environ": {"MISBEHAVE": "ValueError"}}
    with pytest.raises(errors.EnvValueError, match="no such thing") as caught:
        gym_service.make("CartPole-v1", command=engine.srun, python=str(TARGETS[TARGET].python()), **given)
    assert "gym_service" not in caught.value.remote_traceback


def test_a_working_directory_that_is_not_over_there(ssh_host: SshHost) -> None:
    with refused(ssh_host.command("bash"), cwd="~/no/such") as error:
        assert first_line(error).startswith("the working directory is no folder on the remote side: /")
        assert first_line(error).endswith("/no/such")


def test_a_terminal_is_refused(ssh_host: SshHost) -> None:
    with refused(ssh_host.command("bash", "-tt")) as error:
        assert first_line(error) == (
            "standard input is a terminal on the remote side, and a terminal changes the bytes that pass it"
        )
        assert advice(error) == "leave out the option that asks for one: -t of ssh and docker run, --pty of srun"


def test_a_terminal_that_docker_refuses_itself(engine: Engine) -> None:
    with refused(engine.command("docker", "run", "-i", "-t", "sim:1")) as error:
        assert first_line(error) == f"{engine.folder}/docker: exit code 1: the input device is not a TTY"


def test_a_container_that_is_given_no_input(engine: Engine) -> None:
    with refused(engine.command("docker", "run", "sim:1")) as error:
        assert first_line(error) == "the interpreter on the remote side was given no standard input"
        assert advice(error).startswith("the option that passes it on: -i of docker run")


def test_a_job_that_does_not_start_in_time(engine: Engine) -> None:
    begun = time.monotonic()
    with refused(["sh", "-c", "echo queued >&2; exec sleep 600"], timeouts={"start": 1.0}) as error:
        # Six seconds at most, and some more on a busy machine; without a limit it would take ten minutes.
        assert 1.0 <= time.monotonic() - begun < 60.0
        assert first_line(error).startswith("it was not up after 1 s (unknown)")
        assert "queued" in error.tail
        assert advice(error) == "a longer timeout, timeouts = { start = … }, if it was still at work"


def test_what_is_no_python_and_reads_nothing() -> None:
    with refused(["true"]) as error:
        assert first_line(error) == "true: exit code 0"
    with refused(["cat"], python="/dev/null/python") as error:
        assert first_line(error).startswith("cat: exit code 1: ")
