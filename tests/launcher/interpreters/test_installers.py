"""Which installer builds a venv, what to try if it fails, and which parts of an index URL are passed on or shown."""

from pathlib import Path

import pytest
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters import build_hints
from gym_service_launcher.interpreters.venv_spec import spec_of
from gym_service_launcher.standalone import build_commands, installers


@pytest.mark.parametrize(
    ("requirement", "is_old"),
    [
        ("gym==0.21.0", True),
        ("gym[atari]==0.21", True),
        ("Gym <= 0.19.0 ; python_version < '3.9'", True),
        ("gym>=0.17,<0.22", True),
        ("gym~=0.21.0", True),
        ("gym===0.10.5", True),
        ("gym", False),
        ("gym>=0.21", False),
        ("gym~=0.21", False),
        ("gym==0.26.2", False),
        ("gym!=0.21.0", False),
        ("gym<1", False),
        ("gym-pusht==0.1.8", False),
        ("gymnasium==0.21", False),
        ("gym==0.210", False),
    ],
)
def test_a_gym_that_only_an_old_pip_installs_is_known(requirement: str, is_old: bool) -> None:
    assert (installers.wants_old_gym(["numpy", requirement]) == requirement) == is_old


def test_certificates_of_the_system_are_tried_where_an_index_has_one_of_a_proxy(tmp_path: Path) -> None:
    """An installer that knows only its own certificates, as uv does unless it is told to use the system's."""
    uv = tmp_path / "uv"
    uv.write_text(
        "#!/bin/sh\n"
        'if [ -n "$UV_SYSTEM_CERTS" ]; then echo installed; exit; fi\n'
        'echo "error: Failed to fetch"; echo "  cause: invalid peer certificate: UnknownIssuer"; exit 2\n'
    )
    uv.chmod(0o755)
    said: list[str] = []
    commands = build_commands.Commands(str(tmp_path), said.append)
    commands.run([str(uv)])
    commands.run([str(uv)])
    told = "uv does not know the certificate of the index: trying with the certificates of the system"
    assert said == [told, "installed", "installed"]


def test_passwords_of_an_index_are_shown_nowhere(tmp_path: Path) -> None:
    said: list[str] = []
    commands = build_commands.Commands(str(tmp_path), said.append)
    with pytest.raises(build_commands.BuildFailed) as failed:
        commands.run(["sh", "-c", "echo at $0; echo error: $0; exit 1", "https://me:s3cret@index/simple"])
    assert said == ["at https://***@index/simple"]
    assert failed.value.tail == "error: https://***@index/simple"
    assert "s3cret" not in repr(failed.value.argv)


UV_WITHOUT_NETWORK = """\
error: Request failed after 3 retries in 5.8s
  cause: Failed to download `https://downloads.example/python-build-standalone/cpython-3.10.13%2B20240224-x86_64.tar.gz`
  cause: dns error
"""


def test_a_python_that_uv_cannot_download_is_not_blamed_on_the_index() -> None:
    entry = Entry(name="X-v0", id="X-v0", python="3.10", requires=("gymnasium",))
    spec = spec_of(entry)
    assert spec
    expected = "Python 3.10 on PATH, in pyenv or in conda: none runs here, and uv could not download one"
    assert build_hints.advice(UV_WITHOUT_NETWORK, spec) == expected
