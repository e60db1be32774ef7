"""What the probe says of a target, with the real interpreters of this machine."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from gym_service_launcher.interpreters.diagnosis import diagnose
from gym_service_launcher.standalone.env_vars import environment
from support.interpreters import NEW_ENOUGH, PYTHONS, script


@pytest.fixture
def site(a_venv: Path) -> Iterator[Path]:
    """The site-packages of a venv with the test's own Python, emptied after the test."""
    folder = Path(sysconfig.get_path("purelib", vars={"base": str(a_venv), "platbase": str(a_venv)}))
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path)


def package(site: Path, name: str, version: str | None, code: str = "") -> None:
    (site / name).mkdir()
    (site / name / "__init__.py").write_text(code)
    if version:
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


WORKING_NUMPY = "class zeros:\n    def __init__(self, n): pass\n    def sum(self): return 0\n"
VERSION = ".".join(str(number) for number in sys.version_info[:3])


@pytest.mark.parametrize(("version", "path"), NEW_ENOUGH)
def test_the_probe_runs_in_every_python_here(version: str, path: Path, tmp_path: Path) -> None:
    """Without site-packages, so that this machine's installed packages do not matter."""
    bare = tmp_path / "bare"
    subprocess.run([str(path), "-m", "venv", "--without-pip", str(bare)], check=True, stdin=subprocess.DEVNULL)
    executable = bare / "bin/python"
    report = diagnose(executable, environment(executable, {}, ()))
    assert (report.version, report.prefix, report.executable) == (version, str(bare), executable)
    assert (report.numpy, report.gymnasium, report.gym) == (None, None, None)
    assert report.problem == f"{executable} (Python {version}) has no numpy"
    assert report.advice == f"uv pip install --python {executable} numpy"


def test_a_python_2_says_that_it_is_too_old() -> None:
    old = [path for version, path in PYTHONS if version.startswith("2.")]
    if not old:
        pytest.skip("there is no Python 2.7 on PATH or in pyenv")
    report = diagnose(old[0], environment(old[0], {}, ()))
    assert report.problem == f"{old[0]} (Python {report.version}) is too old: the oldest that works is Python 3.6"
    assert report.advice == "use a newer Python for this simulator"


def probed(venv_folder: Path) -> tuple[str | None, str]:
    executable = venv_folder / "bin/python"
    report = diagnose(executable, environment(executable, {}, ()))
    prefix = f"{executable} (Python {VERSION}) "
    return report.problem and report.problem.removeprefix(prefix), report.advice


def test_a_target_that_has_what_it_needs(a_venv: Path, site: Path) -> None:
    package(site, "numpy", "1.19.5", "print('hello from C')\n" + WORKING_NUMPY)
    package(site, "gym", "0.21.0", "raise SystemExit('the probe never imports gym')")
    package(site, "gym_pusht", "0.1.8")
    executable = a_venv / "bin/python"
    report = diagnose(executable, environment(executable, {}, ()))
    assert (report.problem, report.advice) == (None, "")
    assert (report.numpy, report.gym, report.gymnasium) == ("1.19.5", "0.21.0", None)


def test_a_target_without_gym(a_venv: Path, site: Path) -> None:
    package(site, "numpy", None, WORKING_NUMPY)
    (site / "gymnasium").mkdir()  # a user's folder of that name
    executable = a_venv / "bin/python"
    assert probed(a_venv) == (
        "has neither gymnasium nor gym",
        f"uv pip install --python {executable} gymnasium",
    )
    package(site, "pip", "23.0")
    assert probed(a_venv)[1] == f"{executable} -m pip install gymnasium"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        (
            "try:\n    import no_such_thing\nexcept ImportError as e:\n    raise ImportError('READ') from e",
            "ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        ("import os; os.kill(os.getpid(), 4)", "it was killed by signal 4"),
        ("raise SystemExit(5)", "exit code 5"),
    ],
)
def test_a_numpy_that_does_not_import(a_venv: Path, site: Path, code: str, why: str) -> None:
    package(site, "numpy", "1.19.5", code)
    package(site, "gymnasium", "0.29.1")
    assert probed(a_venv) == (
        f"has numpy 1.19.5, which fails to import: {why}",
        f"uv pip install --python {a_venv}/bin/python --force-reinstall numpy",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#!/bin/sh\nexit 0\n", "exit code 0, no output (it may not be a Python)"),
        ("#!/bin/sh\necho 'python3.8: command not found' >&2\necho more >&2\nexit 127\n",
         "exit code 127, python3.8: command not found"),
        (f"#!{sys.executable}\nraise RuntimeError('broken')\n", "exit code 1, RuntimeError: broken"),
        ("#!/bin/sh\nkill -KILL $$\n", "killed (Killed), no output (it may not be a Python)"),
        ("#!/no/such/interpreter\n", "No such file or directory"),
        ("\x7fELF nothing", "Exec format error"),
    ],
)  # fmt: skip
def test_what_does_not_run_says_why(tmp_path: Path, text: str, why: str) -> None:
    executable = script(tmp_path / "python", text)
    report = diagnose(executable, environment(executable, {}, ()))
    assert report.problem == f"{executable} does not run: {why}"
    assert report.advice == "use another interpreter, or rebuild this one"


def test_a_target_that_never_answers_is_gone_afterwards(tmp_path: Path) -> None:
    """Its own child holds the fifo too: the read ends only when both are dead."""
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    executable = script(tmp_path / "python", f"#!/bin/sh\nexec 9>{fifo}\nsleep 1000 & wait\n")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        report = diagnose(executable, environment(executable, {}, ()), timeout_s=0.5)
        assert report.problem == f"{executable} does not run: it did not answer within 0.5 s"
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
