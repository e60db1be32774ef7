"""Finding interpreters, with the real ones of this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters import discovery
from gym_service_launcher.interpreters.find import find_interpreter
from support.interpreters import PYTHONS, script


def text_of(python: str, folder: Path) -> str:
    with pytest.raises(ConfigError) as error:
        find_interpreter(python, folder)
    assert error.value.__dict__ == {"file": None, "key": "python"}
    return str(error.value)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without PATH, pyenv, conda and uv, except for what a test installs."""
    for name in [name for name in os.environ if name.startswith(("CONDA", "MAMBA", "PYENV", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    if discovery.conda_roots():
        pytest.skip("needs a machine without a conda below /opt or /usr/local")
    if discovery.find_uv():
        pytest.skip("needs a Python without uv in its environment")
    return tmp_path


def test_a_venv_is_its_bin_python_and_never_where_that_leads(a_venv: Path) -> None:
    assert (a_venv / "bin/python").is_symlink()
    assert find_interpreter(str(a_venv), Path("/")) == a_venv / "bin/python"
    assert find_interpreter("./sim_env", a_venv.parent) == a_venv / "bin/python"
    assert find_interpreter("sim_env/bin/python", a_venv.parent) == a_venv / "bin/python"
    assert find_interpreter(".", a_venv) == a_venv / "bin/python"


def test_paths_that_lead_to_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "empty/bin").mkdir(parents=True)
    assert text_of("./empty", tmp_path) == (
        f"{tmp_path}/empty is not a venv; searched:\n    {tmp_path}/empty/bin/python: does not exist\n"
        f"  try: python -m venv {tmp_path}/empty"
    )
    (tmp_path / "empty/setup.py").touch()
    assert text_of("./empty", tmp_path).endswith("\n  try: the folder of a venv, or its bin/python")
    assert text_of("$HOME/venv", tmp_path).endswith(": variables such as $HOME are not replaced in envs.toml")
    assert text_of("./emty", tmp_path) == f"{tmp_path}/emty does not exist\n  try: python -m venv {tmp_path}/emty"
    assert text_of("./no/python", tmp_path) == (
        f"{tmp_path}/no/python does not exist\n"
        f"  try: another path; {tmp_path}/no does not exist either (relative paths start from the folder of envs.toml)"
    )
    (tmp_path / "notes").write_text("")
    assert text_of("./notes", tmp_path) == (
        f"{tmp_path}/notes is not an executable file\n  try: the folder of a venv, or its bin/python"
    )
    (tmp_path / "empty/bin/python").symlink_to(tmp_path / "gone")
    assert text_of("./empty", tmp_path) == (
        f"{tmp_path}/empty/bin/python is a link to {tmp_path}/gone, which does not exist\n  try: rebuild this venv"
    )


def test_a_command_line_is_advised_its_own_option(a_venv: Path) -> None:
    with pytest.raises(ConfigError, match=r"\n  try: --venv \./sim_env$"):
        find_interpreter("./sim_evn", a_venv.parent, lambda path: f"--venv {path}")


@pytest.mark.parametrize("version", [version for version, _ in PYTHONS])
def test_every_version_here_is_found_by_its_number(version: str) -> None:
    found = find_interpreter(version, Path("/"))
    assert discovery.query_version(found)[0] == version
    minor = version.rpartition(".")[0]
    assert discovery.query_version(find_interpreter(minor, Path("/")))[0].startswith(f"{minor}.")


def test_a_shim_that_fails_is_passed_over_and_named(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = script(nowhere / "bin/python3.8", "#!/bin/sh\necho 'pyenv: python3.8: command not found' >&2\nexit 127\n")
    monkeypatch.setenv("PYENV_ROOT", str(nowhere / "pyenv"))
    assert text_of("3.8", nowhere) == (
        "There is no Python 3.8; searched:\n"
        f"    PATH: {shim} does not run: pyenv: python3.8: command not found\n"
        f"    pyenv: no 3.8 in {nowhere}/pyenv/versions\n"
        "    conda: not installed\n"
        "    uv: not installed\n"
        "  try: uv python install 3.8"
    )
    assert text_of("python3.8", nowhere) == (
        "python3.8 is not an interpreter; searched:\n"
        f"    PATH: {shim} does not run: pyenv: python3.8: command not found\n"
        '  try: python = "3.8" (a version is also searched for in pyenv, conda and uv)'
    )
    # An interpreter after it on PATH is still found.
    real = script(nowhere / "later/python3.8", "#!/bin/sh\nprintf '3.8.18 /real/python3.8'\n")
    monkeypatch.setenv("PATH", os.pathsep.join([str(shim.parent), str(real.parent), os.environ["PATH"]]))
    assert find_interpreter("3.8", nowhere) == Path("/real/python3.8")


def test_the_failing_shim_of_this_machine_does_not_hide_the_real_one() -> None:
    shim = shutil.which("python3.8")
    if shim is None or not any(version.startswith("3.8.") for version, _ in PYTHONS):
        pytest.skip("needs a python3.8 on PATH, and a Python 3.8 that runs elsewhere")
    if subprocess.run([shim, "-c", ""], check=False, capture_output=True).returncode == 0:
        pytest.skip("needs a python3.8 on PATH that fails, such as a shim of pyenv")
    found = find_interpreter("3.8", Path("/"))
    assert found != Path(shim)
    assert discovery.query_version(found)[0].startswith("3.8.")


def test_the_newest_patch_of_pyenv_that_runs(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(version: str, text: str) -> Path:
        return script(nowhere / "home/.pyenv/versions" / version / "bin/python", f"#!/bin/sh\n{text}\n")

    installed("3.10.9", "printf '3.10.9 '")
    middle = installed("3.10.13", "printf '3.10.13 '")
    installed("3.10.14", "exit 1")
    installed("3.1.5", "printf '3.1.5 '")
    installed("3.10-dev", "printf '3.10.99 '")
    assert find_interpreter("3.10", nowhere) == middle
    assert find_interpreter("3.10.9", nowhere).parent.parent.name == "3.10.9"
    assert "pyenv: no 3.11 in" in text_of("3.11", nowhere)
    assert text_of("3.6", nowhere).endswith("\n  try: pyenv install 3.6")
    assert text_of("3.5", nowhere).endswith("\n  try: a newer Python: the oldest that works is Python 3.6")
    assert text_of("2", nowhere).endswith("\n  try: a newer Python: the oldest that works is Python 3.6")


def test_a_python_on_path_with_another_patch_is_not_what_was_asked_for(nowhere: Path) -> None:
    other = script(nowhere / "bin/python3.10", "#!/bin/sh\nprintf '3.10.9 '\n")
    assert f"\n    PATH: {other} is 3.10.9\n" in text_of("3.10.13", nowhere)


def conda_env(prefix: Path) -> Path:
    return script(prefix / "bin/python", "#!/bin/sh\nprintf '3.9.1 '\n")


def test_a_conda_env_is_found_by_its_name(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = nowhere / "home"
    base = conda_env(home / "miniconda3")
    inside = conda_env(home / "miniconda3/envs/sim")
    listed = conda_env(nowhere / "far/listed")
    (home / ".conda").mkdir()
    (home / ".conda/environments.txt").write_text(f"{nowhere}/gone/old\n{listed.parent.parent}\n")
    assert find_interpreter("conda:base", nowhere) == base
    assert find_interpreter("conda:sim", nowhere) == inside
    assert find_interpreter("conda:listed", nowhere) == listed
    assert text_of("conda:lsited", nowhere) == (
        "There is no conda env lsited; searched:\n"
        f"    conda's folders: {home}/miniconda3\n"
        "    ~/.conda/environments.txt and ~/.conda/envs: they have base, listed, sim\n"
        '  try: python = "conda:listed"'
    )
    assert text_of("conda:old", nowhere).endswith("\n  try: conda create -n old python=3.10 numpy gymnasium")
    by_executable = conda_env(nowhere / "own/envs/mine")
    monkeypatch.setenv("CONDA_EXE", str(nowhere / "own/bin/conda"))
    assert find_interpreter("conda:mine", nowhere) == by_executable
    monkeypatch.delenv("CONDA_EXE")
    monkeypatch.setenv("CONDA_PREFIX", str(nowhere / "own/envs/other"))
    assert find_interpreter("conda:mine", nowhere) == by_executable


def test_a_version_is_found_at_a_root_of_conda_and_in_none_of_its_envs(nowhere: Path) -> None:
    root = nowhere / "home/miniforge3"
    base = conda_env(root)
    (root / "conda-meta").mkdir()
    (root / "conda-meta/python-3.9.1-h123_0.json").write_text("{}")
    env = root / "envs/sim"
    conda_env(env)
    (env / "conda-meta").mkdir()
    (env / "conda-meta/python-3.8.1-h123_0.json").write_text("{}")
    assert find_interpreter("3.9", nowhere) == base
    assert f"\n    conda: no 3.8 at {root}\n" in text_of("3.8", nowhere)


def test_uv_knows_pythons_that_nobody_else_does(nowhere: Path) -> None:
    found = script(nowhere / "uv/python3.9", "#!/bin/sh\nprintf '3.9.1 '\n")
    script(nowhere / "bin/uv", f'#!/bin/sh\ncase "$*" in *" 3.9") echo {found};; *) exit 2;; esac\n')
    assert find_interpreter("3.9", nowhere) == found
    assert "\n    uv: no 3.8\n" in text_of("3.8", nowhere)


def test_a_command_is_run_once_to_see_what_it_is(nowhere: Path) -> None:
    command = script(nowhere / "bin/pypy3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert find_interpreter("pypy3", nowhere) == Path(sys.executable)
    command.write_text("#!/bin/sh\nexit 3\n")
    assert text_of("pypy3", nowhere) == (
        f"pypy3 is not an interpreter; searched:\n    PATH: {command} does not run: exit code 3\n"
        "  try: the full path of an interpreter that runs"
    )
    assert text_of("sim_env", nowhere) == (
        "There is no interpreter sim_env; searched:\n    PATH: no sim_env\n"
        '  try: a venv ("./sim_env"), a version ("3.10"), an executable or "conda:NAME"'
    )
    (nowhere / "sim_env").mkdir()
    assert text_of("sim_env", nowhere).endswith('\n  try: python = "./sim_env" (a path starts with ./ or /)')
