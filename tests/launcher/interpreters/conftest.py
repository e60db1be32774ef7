"""Fixtures that the tests of interpreters share."""

import venv
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def a_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venvs") / "sim_env"
    venv.create(folder, symlinks=True)
    return folder
