"""Folders and links that another user has put in place of ours: nothing is written through them, not even by root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gym_service_launcher import user_dirs
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.net import unix
from gym_service_launcher.processes import logs, pidfiles

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder to another user")

# Runs as a user without a home and without an entry in the passwd database.
HOMELESS = """
import os
from gym_service_launcher import user_dirs
from gym_service_launcher.errors import AuthError
from gym_service_launcher.interpreters import venvs
from gym_service_launcher.net import tokens
from gym_service_launcher.processes import logs, pidfiles
for name in [name for name in os.environ if name.startswith("XDG_") or name == "HOME"]:
    del os.environ[name]
os.setgroups([])
os.setresgid(12345, 12345, 12345)
os.setresuid(12345, 12345, 12345)
assert os.path.expanduser("~") == "~"
logs.Log("X-v0", 1).write(b"printed")
assert pidfiles.PidFile().path is None
assert pidfiles.list_servers() == []
try:
    os.makedirs(venvs.cache_folder())
except OSError:
    pass
try:
    tokens.read_or_make(tokens.usual_file())
except AuthError as error:
    print(error)
print(os.listdir("."))
"""


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME_DIR", "STATE_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("precious")
    return file


def given_away(folder: Path) -> Path:
    folder.mkdir(parents=True)
    os.chown(folder, NOBODY, NOBODY)
    return folder


def test_a_pid_file_is_not_written_through_a_link(precious: Path) -> None:
    pid_file = pidfiles.PidFile()
    assert pid_file.path
    pid_file.path.symlink_to(precious)
    pid_file.write("X-v0", Path(sys.executable), os.getpid())
    assert precious.read_text() == "precious"
    assert pidfiles.list_servers() == []
    pid_file.remove()
    assert precious.exists()


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_log_is_not_written_through_a_link_nor_waits_for_a_reader(precious: Path, kind: str) -> None:
    log = logs.Log("X-v0", 1)
    log.path.parent.mkdir(parents=True)
    log.path.symlink_to(precious) if kind == "link" else os.mkfifo(log.path)
    log.write(b"printed")
    log.close()
    assert precious.read_text() == "precious"


@needs_root
def test_in_a_folder_of_another_user_there_is_no_pid_file_and_none_is_believed() -> None:
    folder = given_away(user_dirs.runtime_dir())
    (folder / "1-x.server").write_bytes(bytes(8) + b"{}")
    assert pidfiles.PidFile().path is None
    assert pidfiles.list_servers() == []
    assert len(list(folder.iterdir())) == 1


@needs_root
def test_below_a_folder_of_another_user_there_is_none_either() -> None:
    os.chown(user_dirs.runtime_dir().parent, NOBODY, NOBODY)
    assert pidfiles.PidFile().path is None


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    user_dirs.runtime_dir().symlink_to(tmp_path / "elsewhere")
    assert pidfiles.PidFile().path is None


@needs_root
def test_in_a_folder_of_another_user_there_is_no_log() -> None:
    folder = given_away(logs.folder())
    log = logs.Log("X-v0", 1)
    log.write(b"printed")
    assert list(folder.iterdir()) == []


@needs_root
@pytest.mark.parametrize("place", ["usual", "own"])
def test_in_a_folder_of_another_user_nothing_listens(tmp_path: Path, place: str) -> None:
    folder = given_away(user_dirs.runtime_dir() if place == "usual" else tmp_path / "own")
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}"):
        unix.bind(folder / "socket")


def test_a_folder_of_ours_is_closed_to_others() -> None:
    folder = user_dirs.runtime_dir()
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    path = pidfiles.PidFile().path
    assert path
    assert path.parent == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@needs_root
def test_without_a_home_no_folder_named_tilde_appears(tmp_path: Path) -> None:
    place = tmp_path / "cwd"
    place.mkdir()
    place.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):  # pytest's folders are private to their owner
        if folder != Path("/tmp") and folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    ran = subprocess.run([sys.executable, "-c", HOMELESS], cwd=place, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
    assert "cannot be created" in ran.stdout
