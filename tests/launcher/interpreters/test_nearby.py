"""A path that leads to no interpreter: the error names the one that is near, and nothing that is none."""

import venv
from pathlib import Path

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters import nearby
from gym_service_launcher.interpreters.find import find_interpreter

STARTS = " (relative paths start from {project})"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lab/project, the folder of envs.toml; venvs in it and around it; what looks like venvs and is none."""
    lab = tmp_path_factory.mktemp("lab")
    for name in ("project/sim_env", "project/sims/arms_env", "project/robot/.venv", "beside_env", "work/cwd_env"):
        venv.create(lab / name, symlinks=True)
    venv.create(lab / "home/home_env", symlinks=True)
    for name in (
        "project/robot/python",
        "project/empty_env/bin",
        "project/windows_env/Scripts",
        "project/broken_env/bin",
        "work/empty_env",
    ):
        (lab / name).mkdir(parents=True)
    (lab / "project/windows_env/Scripts/python.exe").touch(0o755)
    (lab / "project/windows_env/pyvenv.cfg").touch()
    (lab / "project/broken_env/bin/python").symlink_to("gone")
    (lab / "project/notes").touch()
    (lab / "bin_only/bin").mkdir(parents=True)
    (lab / "bin_only/bin/python").symlink_to(lab / "beside_env/bin/python")
    return lab


@pytest.fixture(autouse=True)
def in_work(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab / "work")
    monkeypatch.setenv("HOME", str(lab / "home"))


CASES = pytest.mark.parametrize(
    ("python", "advice"),
    [
        # Another folder to start from: the folder of the file, its parent, the current folder, home, the root.
        ("../sim_env", 'python = "./sim_env"' + STARTS),
        ("../sim_env/bin/python3.9", 'python = "./sim_env"' + STARTS),
        ("./beside_env", 'python = "{lab}/beside_env"' + STARTS),
        ("./cwd_env", 'python = "{lab}/work/cwd_env"' + STARTS),
        ("project/sim_env", 'python = "./sim_env"' + STARTS),
        ("./home_env", 'python = "{lab}/home/home_env"' + STARTS),
        ("~/sim_env", 'python = "./sim_env"' + STARTS),
        ("/sim_env", 'python = "{project}/sim_env"'),
        ("/home/of/another/sims/sim_env/bin/python", 'python = "{project}/sim_env"'),
        ("../sims/arms_env", 'python = "./sims/arms_env"' + STARTS),
        # A folder inside a venv, or around one.
        ("./sim_env/bin", 'python = "./sim_env"'),
        ("./sim_env/bin/python2.7", 'python = "./sim_env"'),
        ("./sim_env/python", 'python = "./sim_env"'),
        ("./sim_env/lib", 'python = "./sim_env"'),
        ("../bin_only/bin", 'python = "{lab}/bin_only"'),
        ("./robot", 'python = "./robot/.venv"'),
        ("{project}/robot", 'python = "{project}/robot/.venv"'),
        ("..", 'python = "{lab}/beside_env"'),
        # A path of Windows.
        ("./sim_env/Scripts/python.exe", 'python = "./sim_env"'),
        (r"sim_env\Scripts\python.exe", 'python = "./sim_env"' + STARTS),
        (r"C:\sims\sim_env", 'python = "./sim_env"' + STARTS),
        ("./windows_env", "a venv that was made on this machine"),
        # Another letter.
        ("./sim_evn", 'python = "./sim_env"'),
        ("./sim_env/bin/pyhton", 'python = "./sim_env"'),
        # Without ./
        ("sim_env", 'python = "./sim_env" (a path starts with ./ or /)'),
        ("beside_env", 'python = "{lab}/beside_env"' + STARTS),
        # What is near is no interpreter.
        ("./emty_env", "python -m venv {project}/emty_env"),
        ("../empty_env", "python -m venv {lab}/empty_env"),
        ("./not", "python -m venv {project}/not"),
        ("./broken_env", "rebuild this venv"),
        ("../broken_env", "python -m venv {lab}/broken_env"),
        ("../windows_env", "python -m venv {lab}/windows_env"),
    ],
)


@CASES
def test_the_interpreter_that_was_meant(lab: Path, python: str, advice: str) -> None:
    assert advised(lab, python) == filled(lab, advice)


@CASES
def test_the_same_in_an_entry_as_an_absolute_path(lab: Path, python: str, advice: str) -> None:
    entry = entries.entry("Reach", {"python": filled(lab, python)}, file=lab / "project/envs.toml")
    assert entry.python
    expected = filled(lab, advice)
    if entry.python.startswith("/"):
        expected = expected.replace('"./', f'"{lab}/project/').partition(" (relative")[0]
    assert advised(lab, entry.python) == expected


def filled(lab: Path, text: str) -> str:
    return text.replace("{lab}", str(lab)).replace("{project}", f"{lab}/project")


def advised(lab: Path, python: str) -> str:
    with pytest.raises(ConfigError) as error:
        find_interpreter(filled(lab, python), lab / "project")
    return str(error.value).rpartition("\n  try: ")[2]


def test_what_cannot_be_looked_at_is_passed_over(tmp_path: Path, lab: Path) -> None:
    """A folder without permissions, a name that is too long, a path through a file."""
    (tmp_path / "closed").mkdir(0o000)
    venv.create(tmp_path / "sim_env", symlinks=True)
    for python in ("./closed/sim_env", f"./{'x' * 300}/sim_env", f"{lab}/project/notes/sim_env"):
        with pytest.raises(ConfigError, match=r'try: python = "(\./|/.*/)sim_env"'):
            find_interpreter(python, tmp_path)
    (tmp_path / "closed").chmod(0o755)


def test_a_current_folder_that_was_removed(tmp_path: Path, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match=r'try: python = "\./sim_env"'):
        find_interpreter("../sim_env", lab / "project")


@pytest.mark.parametrize(
    ("python", "advice"),
    [
        # Another project's venv is not the project's own, though both have the usual name.
        ("../sims/pusht_sim/.venv", "{lab}/sims/pusht-sim/.venv"),
        ("~/other/.venv", None),
        ("/opt/nowhere/.venv/bin/python", None),
        ("/opt/nowhere/venv", None),
        ("$NOWHERE/sims/.venv", None),
        ("$LAB/sims/pusht-sim/.venv", "{lab}/sims/pusht-sim/.venv"),
        # The venv that all of them lie in is none of them.
        ("./sim_env", "{lab}/project/sim-env"),
        ("./nowhere", None),
        ("nowhere/bin/python", None),
        ("../lib/python3.8/site-packages", "{lab}"),
        ("../bin/python2.7", "{lab}"),
    ],
)
def test_a_venv_of_another_project_is_none_that_was_meant(
    tmp_path: Path, python: str, advice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    for name in (".", "project/.venv", "project/sim-env", "sims/pusht-sim/.venv"):
        venv.create(lab / name, symlinks=True)
    monkeypatch.chdir(lab / "project")
    monkeypatch.setenv("LAB", str(lab))
    found = nearby.advice(python, lab / "project", str)
    if found is not None:
        found = found.removesuffix(f" (relative paths start from {lab / 'project'})").replace("./", f"{lab}/project/")
    assert found == (None if advice is None else advice.format(lab=lab))


def test_a_program_in_a_folder_that_is_no_bin(tmp_path: Path, lab: Path) -> None:
    (tmp_path / "standalone").mkdir()
    (tmp_path / "standalone/python").symlink_to(lab / "beside_env/bin/python")
    assert nearby.advice("./standalone", tmp_path, str) == "./standalone/python"
