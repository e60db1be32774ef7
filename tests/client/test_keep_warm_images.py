"""A fork server that is kept warm never gives an old image: its modules, its packages and its paths are compared."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import polling
from support.keep_warm import OLD, PLAY, SOON_S, importers, opening, sockets, stop
from support.paths import ENVS
from support.programs import Programs
from support.targets import TARGETS

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Each program takes a second, so most tests are run by hand.
LONG = pytest.mark.long


SIMULATOR = """
import os, time
from counted import *
{more}
VALUE = {value}
class Env(CountedEnv):
    def value(self):
        return VALUE
"""
SAY_VALUE = """
env = with_env()
say(env.call("value"))
env.close()
"""


def write_simulator(path: Path, value: int, more: str = "") -> None:
    path.write_text(SIMULATOR.format(value=value, more=more))


def simulator(folder: Path, **given: Any) -> str:
    return opening(entry_point="edited:Env", pythonpath=[str(folder), str(ENVS)], **given)


def test_an_edited_module(group: Programs, tmp_path: Path) -> None:
    write_simulator(tmp_path / "edited.py", 1)
    text = simulator(tmp_path)
    assert group.run(text + SAY_VALUE) == ["1"]
    old = group.start(text + PLAY + "hear()\nsay(env.call('value'))\nenv.close()")
    old.says()
    (first,) = importers(group)
    write_simulator(tmp_path / "edited.py", 2)
    assert group.run(text + SAY_VALUE) == ["2"]
    polling.until_dead([first], SOON_S)
    # The program that has an env of the old one keeps it.
    old.hears()
    assert (old.end(), old.lines()) == (0, ["1"])
    assert group.run(text + SAY_VALUE) == ["2"]
    assert len(importers(group)) == len(sockets(group)) + 1 == 2
    # As large as before, and with the modification time of before, but another file.
    times = (tmp_path / "edited.py").stat().st_mtime_ns
    write_simulator(tmp_path / "new.py", 3)
    os.utime(tmp_path / "new.py", ns=(times, times))
    (tmp_path / "new.py").replace(tmp_path / "edited.py")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)  # by time and size, Python would find the old byte code
    assert group.run(text + SAY_VALUE) == ["3"]
    stop(group)


@LONG
def test_a_module_that_is_edited_while_it_is_imported(group: Programs, tmp_path: Path) -> None:
    gate = 'while not os.path.exists(os.environ["GATE"]): time.sleep(0.01)'
    write_simulator(tmp_path / "edited.py", 1, gate)
    text = simulator(tmp_path)
    program = group.start(text + SAY_VALUE, GATE=str(tmp_path / "open"))
    polling.until(lambda: importers(group), "the import")
    write_simulator(tmp_path / "edited.py", 2, gate)
    (tmp_path / "open").touch()
    assert program.end() == 0
    told, value = program.lines()
    where = f"{tmp_path / 'edited.py'} changed while it was imported"
    assert told == f"warning: 'Counted' was started without prefork: {where}"
    assert value == "2"
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_a_module_that_is_hidden_while_it_is_imported(group: Programs, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    gate = 'while not os.path.exists(os.environ["GATE"]): time.sleep(0.01)'
    write_simulator(tmp_path / "second/edited.py", 1, gate)
    folders = [str(tmp_path / "first"), str(tmp_path / "second"), str(ENVS)]
    text = opening(entry_point="edited:Env", pythonpath=folders)
    program = group.start(text + SAY_VALUE, GATE=str(tmp_path / "open"))
    polling.until(lambda: importers(group), "the import")
    write_simulator(tmp_path / "first/edited.py", 2, gate)
    (tmp_path / "open").touch()
    assert program.end() == 0
    assert program.lines()[1:] == ["2"]
    group.assert_nothing_is_left(SOON_S)


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, Path]:
    """A venv, and its site-packages. It sees what the usual target has."""
    python = TARGETS[OLD].python()
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (target_site,) = python.parent.parent.glob("lib/*/site-packages")
    (site / "target.pth").write_text(f"{target_site}\n{ENVS}\n")
    return tmp_path / "venv/bin/python", site


@LONG
def test_an_upgraded_package(group: Programs, installed: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = installed
    text = opening(python=str(python), pythonpath=[], entry_point="edited:Env")
    write_simulator(site / "edited.py", 1)
    (site / "edited-1.0.dist-info").mkdir()
    assert [group.run(text + SAY_VALUE) for _ in range(2)] == [["1"], ["1"]]
    assert len(importers(group)) == 1
    # An installer that keeps the times of an archive.
    os.rename(site / "edited-1.0.dist-info", site / "edited-1.1.dist-info")
    assert group.run(text + SAY_VALUE) == ["1"]
    assert len(importers(group)) == 2
    # An editable install that leads elsewhere from now on.
    (tmp_path / "repo").mkdir()
    write_simulator(tmp_path / "repo/edited.py", 3)
    with (site / "target.pth").open("a") as file:
        file.write(f"import sys; sys.path.insert(0, {str(tmp_path / 'repo')!r})\n")
    assert group.run(text + SAY_VALUE) == ["3"]
    assert len(importers(group)) == 3
    stop(group)
