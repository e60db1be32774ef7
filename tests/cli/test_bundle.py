"""gym-service export and add: what a bundle holds, what it must not hold, and what remains of the user's own file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gym_service_launcher.config import bundle, envs_file, lock
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.config.lock import LockedEnv, LockedPackage, LockedVenv, LockFile
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters.venv_spec import spec_of

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

pytest.importorskip("tomlkit")

ENVS = """
# the lab's
[interpreters.sim]
python = "3.10"  # why this one
requires = ["gymnasium==1.4.0"]
constraints = "limits.txt"
[envs.Mine]
interpreter = "sim"
pythonpath = ["mine"]
entry_point = "mod:Env"
environ = { KEY = "value" }
[envs.Bare]
python = "3.10"
"""


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gym_service", *words]
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with an envs.toml, its lock, and modules of the user."""
    lab = tmp_path / "lab"
    (lab / "mine/sub/__pycache__").mkdir(parents=True)
    (lab / "mine/mod.py").write_text("x = '\\0'\n")
    (lab / "mine/sub/scene.xml").write_text("<ü/>\n", encoding="utf-8")
    (lab / "mine/sub/__pycache__/mod.pyc").write_text("")
    (lab / "mine/picture.png").write_bytes(b"\x89\xff")
    (lab / "mine/away").symlink_to("/etc/passwd")
    (lab / "limits.txt").write_text("numpy<2\n")
    (lab / "envs.toml").write_text(ENVS)
    entry = envs_file.load(lab / "envs.toml").entries["Mine"]
    assert isinstance(entry, Entry)
    spec = spec_of(entry)
    assert spec
    package = LockedPackage("1.4.0", ("sha256:ab",))
    venv = LockedVenv(spec.digest, "3.10.13", "linux x86_64", "uv", {"gymnasium": package})
    found = LockFile({"sim": venv}, {"Mine": LockedEnv("r", "sim", "play1:aa"), "Bare": LockedEnv("s")})
    lock.write(lab / "envs.lock", found)
    return lab


def test_what_one_exports_another_adds_and_keeps_a_file_of_their_own(lab: Path, tmp_path: Path) -> None:
    made = run(lab, "export", "gym_service/Mine", "-o", "../bundle.toml")
    assert (made.returncode, made.stdout) == (0, f"{lab}/../bundle.toml: Mine, 2 files, locked\n")
    assert f"it is no text: {lab}/mine/picture.png" in made.stderr
    assert "with their values: KEY" in made.stderr
    there = tmp_path / "there"
    there.mkdir()
    own = b"# kept\r\n[envs.Other]   # this too\r\npython = '3.10'\r\n"
    (there / "envs.toml").write_bytes(own)
    asked = run(there, "add", "../bundle.toml")
    assert asked.returncode == 2
    assert "--yes says that this is what you want" in asked.stderr
    assert (there / "envs.toml").read_bytes() == own
    assert [path.name for path in there.iterdir()] == ["envs.toml"]
    added = run(there, "add", "../bundle.toml", "--yes")
    assert added.returncode == 0, added.stderr
    assert added.stdout.endswith("\n  try: gym-service sync --locked Mine\n")
    assert "  mine/sub/scene.xml  6 bytes\n" in added.stdout
    assert (there / "envs.toml").read_bytes().startswith(own)
    file = envs_file.load(there / "envs.toml")
    theirs = file.entries["Mine"]
    assert isinstance(theirs, Entry)
    assert (theirs.requires, theirs.constraints) == (("gymnasium==1.4.0",), ("numpy<2",))
    assert theirs.pythonpath == (there / "Mine/mine",)
    assert (there / "Mine/mine/mod.py").read_bytes() == (lab / "mine/mod.py").read_bytes()
    assert sorted(path.name for path in (there / "Mine").rglob("*")) == ["mine", "mod.py", "scene.xml", "sub"]
    found = lock.read(there / "envs.lock")
    spec = spec_of(theirs)
    assert found
    assert spec
    assert found.venv_for(spec.digest)
    assert found.envs["Mine"].hash == "play1:aa"
    again = run(there, "add", "../bundle.toml", "--yes")
    assert (again.returncode, again.stdout) == (2, "")
    assert "has an entry 'Mine' already\n  try: --as ANOTHER_NAME" in again.stderr
    assert run(there, "add", "../bundle.toml", "--yes", "--as", "Two").returncode == 0
    two = envs_file.load(there / "envs.toml").entries["Two"]
    assert isinstance(two, Entry)
    assert (two.interpreter, two.pythonpath) == ("sim", (there / "Two/mine",))


def test_an_interpreter_of_this_machine_is_not_shared(lab: Path) -> None:
    done = run(lab, "export", "Bare", "-o", "bundle.toml")
    assert done.returncode == 2
    assert "'Bare' has no requires or requirements" in done.stderr
    assert not (lab / "bundle.toml").exists()


def write(folder: Path, env: str = "", files: str = "", more: str = "") -> Path:
    path = folder / "bundle.toml"
    path.write_text(f"bundle = 1\n{more}\n[envs.X]\npython = '3.10'\nrequires = []\n{env}\n[files]\n{files}\n")
    return path


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", ".ssh/x", "a/.x", "a//x", "a/", "~/x", "a\\\\..\\\\x", "a\\nx", "", "a/./x"]
)
def test_no_file_of_a_bundle_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a path inside of a bundle"):
        bundle.load(write(tmp_path, files=f'"{name}" = "x"'))


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ("command = ['rm']", 'envs."X".command: cannot stand in a bundle'),
        ("address = 'unix:///x'", 'envs."X".address: cannot stand in a bundle'),
        ("cwd = '/'", 'envs."X".cwd: cannot stand in a bundle'),
        ("project = '.'", 'envs."X".project: cannot stand in a bundle'),
        ("requirements = '/etc/x'", "names no file of the bundle"),
        ("constraints = '../x'", "names no file of the bundle"),
        ("pythonpath = ['..']", "'..' is no folder of the bundle"),
        ("build_requires = ['./x']", "'./x' is a path"),
        ("build_requires = ['-e /x']", "'-e /x' is a path"),
        ("build_requires = ['x @ file:///x']", "'x @ file:///x' is a path"),
        ("build_requires = ['-r /etc/passwd']", "'-r /etc/passwd' is a path"),
    ],
)
def test_what_is_about_one_machine_is_no_part_of_a_bundle(tmp_path: Path, env: str, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        bundle.load(write(tmp_path, env))
    assert what in str(error.value)


def test_an_interpreter_that_somebody_else_names_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    for python in ("./evil", "/bin/sh", "conda:x", "ssh://h/x", "python3"):
        path.write_text(f"bundle = 1\n[envs.X]\npython = '{python}'\nrequires = []\n")
        with pytest.raises(ConfigError, match="is not a version"):
            bundle.load(path)


def test_what_is_shown_of_a_bundle_moves_no_cursor(tmp_path: Path) -> None:
    post = json.dumps([["python", "-c", "evil()\x1b[2K\rgood()"]])
    write(tmp_path, f"post = {post}", more="")
    shown = run(tmp_path, "add", "bundle.toml").stdout
    assert "sync will run: python -c evil()\\x1b[2K\\rgood()\n" in shown
    assert "\x1b" not in shown
    assert "\r" not in shown
