"""Fixtures that the client's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Programs, programs
from support.registered import WriteEnvs

import gym_service


@pytest.fixture
def write_envs(tmp_path: Path) -> Iterator[WriteEnvs]:
    """Writes an envs.toml and registers it; afterwards no id of gym-service is registered."""

    def write(content: str) -> Path:
        path = tmp_path / "envs.toml"
        path.write_text(content)
        gym_service.use(path)
        return path

    yield write
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    gym_service.use(empty)


@pytest.fixture
def group() -> Iterator[Programs]:
    """Programs of one user. A file counts how often they import the simulator of ``counted.py``."""
    with programs() as group:
        group.variables["COUNTED_IN"] = str(group.folder / "imports")
        (group.folder / "imports").touch()
        yield group
