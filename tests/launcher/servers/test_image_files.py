"""The files of an image: what counts as changed, and what does not."""

import _ctypes
import ctypes
import importlib
import os
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gym_service_launcher.standalone import image_files
from gym_service_launcher.standalone.image_files import ImageFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images are kept on Linux alone")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules of all kinds, which are imported."""
    before = set(sys.modules)
    for name in ("first", "plain", "portion/spaced", "whole", "site-packages/old-1.0.dist-info", "cwd"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "plain/img_plain.py").write_text("VALUE = 1\n")
    (tmp_path / "portion/spaced/img_part.py").write_text("")
    (tmp_path / "whole/__init__.py").write_text("")
    (tmp_path / "site-packages/img_installed.py").write_text("")
    (tmp_path / "site-packages/editable.pth").write_text("/nowhere\n")
    (tmp_path / "site-packages/relative.pth").write_text("# a comment\n../made-later\nimport sys\n")
    for name, content in (("packed.zip", "img_packed.py"), ("other.zip", "img_nothing.py")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(content, "")
    for name in ("first/img_plain", "whole/bare", "portion/img_packed"):
        (tmp_path / name).mkdir()
    (tmp_path / "whole/bare.py").write_text("")
    for name in ("packed.zip", "site-packages", "", "portion", "plain", "first", "other.zip"):
        monkeypatch.syspath_prepend(str(tmp_path / name))
    monkeypatch.chdir(tmp_path / "cwd")
    for name in ("img_plain", "spaced.img_part", "whole.bare", "img_installed", "img_packed"):
        importlib.import_module(name)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def replace(path: Path, text: str) -> None:
    """Another file of the same name, size and modification time, as an installer makes one."""
    state = path.stat()
    new = path.with_name("new")
    new.write_text(text)
    assert new.stat().st_size == state.st_size
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns))
    new.replace(path)


def edit(path: Path, text: str) -> None:
    """The same in place."""
    state = path.stat()
    path.write_text(text)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def make_cwd_again(folder: Path) -> None:
    (folder / "cwd").rename(folder / "moved-away")
    (folder / "cwd").mkdir()


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a module is edited": ("plain/img_plain.py", lambda at: edit(at / "plain/img_plain.py", "VALUE = 2\n")),
    "a module is replaced": ("plain/img_plain.py", lambda at: replace(at / "plain/img_plain.py", "VALUE = 2\n")),
    "a module is removed": ("plain/img_plain.py", lambda at: (at / "plain/img_plain.py").unlink()),
    "a module is hidden": ("first", lambda at: (at / "first/img_plain.py").touch()),
    "a package is hidden": ("first", lambda at: (at / "first/whole").mkdir()),
    "a folder before a module becomes a package": (
        "first/img_plain",
        lambda at: (at / "first/img_plain/__init__.py").touch(),
    ),
    "a folder beside a module becomes a package": ("whole/bare", lambda at: (at / "whole/bare/__init__.py").touch()),
    "an archive before a module is written again": (
        "other.zip",
        lambda at: zipfile.ZipFile(at / "other.zip", "w").close(),
    ),
    "a folder that a .pth file names is made": ("made-later", lambda at: (at / "made-later").mkdir()),
    "a package grows": ("whole", lambda at: (at / "whole/more.py").touch()),
    "a portion grows": ("portion/spaced", lambda at: (at / "portion/spaced/more.py").touch()),
    "an archive is written again": ("packed.zip", lambda at: zipfile.ZipFile(at / "packed.zip", "w").close()),
    "a package is upgraded": (
        "site-packages",
        lambda at: (at / "site-packages/old-1.0.dist-info").rename(at / "site-packages/old-1.1.dist-info"),
    ),
    "an editable install moves": (
        "site-packages/editable.pth",
        lambda at: (at / "site-packages/editable.pth").write_text("/elsewhere\n"),
    ),
    "the working directory is another": ("cwd", make_cwd_again),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found(folder: Path, change: str) -> None:
    files = ImageFiles(image_files.importable_names(), [])
    assert files.first_difference() is None
    where, deed = CHANGES[change]
    deed(folder)
    assert files.first_difference() == str(folder / where)


def test_what_runs_write_beside_modules_is_no_change(folder: Path) -> None:
    files = ImageFiles(image_files.importable_names(), [])
    for name in (
        "first/img_plain/run.log",
        "plain/run.log",
        "first/checkpoint-1.pt",
        "plain/__pycache__/a.pyc",
        "whole/__pycache__/b.pyc",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert files.first_difference() is None


def test_the_first_package_of_the_user_is_a_change(tmp_path: Path) -> None:
    """``pip install --user`` makes the folder, which comes before that of the interpreter."""
    text = """
    import os, runpy, site, sys
    module = runpy.run_path(sys.argv[1])
    files = module["ImageFiles"](module["importable_names"](), [])
    assert site.ENABLE_USER_SITE and not files.first_difference()
    os.makedirs(site.USER_SITE)
    print(files.first_difference() == site.USER_SITE)
    """
    variables = {"PYTHONUSERBASE": str(tmp_path), "PATH": os.environ["PATH"]}
    python = Path(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])  # a venv has no folder of the user
    argv = [python, "-c", textwrap.dedent(text), image_files.__file__]
    assert subprocess.check_output(argv, env=variables, text=True) == "True\n"


def test_a_temporary_folder_that_a_server_has_removed(folder: Path) -> None:
    """Each forked server removes it when it ends, and the next one would miss it."""
    (folder / "plain/img_temporary.py").write_text("import tempfile\nFOLDER = tempfile.TemporaryDirectory()\n")
    made = importlib.import_module("img_temporary").FOLDER
    files = ImageFiles(image_files.importable_names(), [])
    Path(made.name, "written").touch()
    assert files.first_difference() is None
    made.cleanup()
    assert files.first_difference() == made.name


def test_a_library_that_a_module_loads_counts(folder: Path) -> None:
    library = folder / "plain/library.bin"
    shutil.copy(_ctypes.__file__, library)
    ctypes.CDLL(str(library))
    files = ImageFiles(image_files.importable_names(), [])
    shutil.copy(library, folder / "new")
    (folder / "new").replace(library)
    assert files.first_difference() == str(library)
    # One that was replaced before anybody looked is known by its path.
    assert str(library) in image_files._mapped_files()


def test_a_link_from_a_cache_is_no_change(folder: Path) -> None:
    """uv gives files of its cache more names with each venv, which sets their change time."""
    os.link(folder / "plain/img_plain.py", folder / "first/one")
    files = ImageFiles(image_files.importable_names(), [])
    os.link(folder / "plain/img_plain.py", folder / "first/two")
    assert files.first_difference() is None


def test_what_changes_while_it_is_imported(folder: Path) -> None:
    begun, before = time.time(), image_files.importable_names()
    assert ImageFiles(before, []).changed_since(begun) is None
    replace(folder / "plain/img_plain.py", "VALUE = 2\n")
    assert ImageFiles(before, []).changed_since(begun) == str(folder / "plain/img_plain.py")
    assert ImageFiles(before, []).changed_since(time.time()) is None
    (folder / "site-packages/added-1.0.dist-info").mkdir()
    assert ImageFiles(before, []).changed_since(time.time()) == str(folder / "site-packages")


def test_what_appears_while_it_is_imported(folder: Path) -> None:
    begun, before = time.time(), image_files.importable_names()
    (folder / "portion/spaced/__pycache__").mkdir(exist_ok=True)
    (folder / "plain/run.log").touch()
    assert ImageFiles(before, []).changed_since(begun) is None
    (folder / "whole/more.py").touch()
    assert ImageFiles(before, []).changed_since(begun) == str(folder / "whole")
    (folder / "first/img_packed.py").touch()
    assert ImageFiles(before, []).changed_since(time.time()) == str(folder / "first")
