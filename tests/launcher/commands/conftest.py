"""One sshd and one engine for all tests about commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import hosts
from support.hosts import Engine, SshHost


@pytest.fixture(scope="session")
def ssh_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with hosts.sshd(tmp_path_factory.mktemp("sshd")) as host:
        yield host


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with hosts.running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="session")
def ssh(ssh_host: SshHost) -> list[str]:
    """The command that leads to another host, whose shell prints something first."""
    return ssh_host.command("bash")


@pytest.fixture(scope="session")
def places(ssh: list[str], engine: Engine) -> dict[str, list[str]]:
    """The command for each place."""
    return {"ssh": ssh, "docker": engine.docker, "srun": engine.srun}


@pytest.fixture(scope="session", params=["ssh", "docker", "srun"])
def place(request: pytest.FixtureRequest, places: dict[str, list[str]]) -> list[str]:
    """The command for one of the places."""
    return places[request.param]


@pytest.fixture(scope="session")
def remote_envs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hosts.envs_over_there(tmp_path_factory.mktemp("remote"))
