"""The files that the image of a fork server was made of, and whether they are still the same.

Knows sys.modules, sys.path, /proc/self/maps and what ``stat`` says. Never knows what a module is for. Standard library
only, Python 3.6 and up: forkserver.py loads it by path in the target's interpreter.

What counts:

- the file of each module that is loaded, and each file that is mapped: extension modules and what they link to. A
  module in a zip archive stands for the archive;
- the names in the folders of each package, the portions of a namespace package included: what is added there may be
  found at import;
- each site-packages folder of sys.path, and the ``.pth`` files there, which lead to editable installs;
- of each other folder of sys.path, the names that can be imported: another one may hide a module that is loaded. A log
  or a checkpoint that a run writes there does not count. An archive in sys.path counts as a file;
- folders that the interpreter adds to sys.path once they exist: the user's site-packages, lines of ``.pth`` files;
- folders without an ``__init__`` that have the name of a loaded module: with one they may hide it;
- temporary folders (``tempfile.TemporaryDirectory``) that the imports have made: a server that ends removes them;
- the working directory itself, not what is in it: its path must not lead to another folder by now.

Two files are the same if they have one inode, size, modification time and, unless the file has several names, one
change time. No program can set the change time back. Installers that link files from a cache change it for the other
names of a file, so there the modification time alone decides.

What this cannot know: files that the imports have read and closed, such as data and configuration; modules that were
removed from sys.modules; and anything that is no file.
"""

import os
import stat
import sys

SITE_FOLDERS = ("site-packages", "dist-packages")
# What the name of an entry of a sys.path folder ends with, if importing or importlib.metadata may use it.
IMPORTABLE = (".py", ".pyc", ".so", ".zip", ".egg", ".pth", ".egg-link", ".dist-info", ".egg-info")
DELETED = " (deleted)"
# How a line of a .pth file begins that names no folder.
PTH_OTHER = ("#", "import ", "import\t")


class ImageFiles:
    """Looks at the files once, when it is made; ``first_difference`` compares."""

    def __init__(self, before, more_paths):
        """Look at them, after the imports.

        ``before``: ``importable_names()`` before the imports. ``more_paths``: files that belong to the image and are no
        modules.
        """
        self._moved = next((path for path, names in before.items() if _names_of(path) != names), None)
        files = _module_files() | _mapped_files() | _missing_folders() | set(more_paths)
        listings = dict.fromkeys(_package_folders(), _all_names)
        for folder in map(os.path.abspath, sys.path):
            if not os.path.isdir(folder):  # an archive, or nothing yet
                files.add(folder)
            elif os.path.basename(folder) in SITE_FOLDERS:
                listings[folder] = None
                files.update(_pth_files(folder))
            else:
                listings.setdefault(folder, _importable_names)
        for folder in _folders_named_as_modules():
            listings.setdefault(folder, _init_names)
        files.add(os.path.join(sys.prefix, "pyvenv.cfg"))
        self._files = {path: _file_stamp(path) for path in {_outermost_file(path) for path in files}}
        self._folders = [Folder(path, listing) for path, listing in listings.items()]
        self._temporary = _temporary_folders()
        self._cwd = _working_folder()

    def changed_since(self, time_s):
        """A path that was changed at ``time_s`` (of time.time) or later, so perhaps after it was read; else None.

        By the change times, which are the system's own: a program can set any modification time, also one to come.
        """
        if self._moved:
            return self._moved
        for path in sorted(self._files):
            try:
                found = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_ctime >= time_s:
                return path
        return next((folder.path for folder in self._folders if folder.gained_since(time_s)), None)

    def first_difference(self):
        """A path where something is not as it was; None if all is as it was. Some microseconds for each file."""
        for path, before in self._files.items():
            if _file_stamp(path) != before:
                return path
        for folder in self._folders:
            if folder.has_changed():
                return folder.path
        for path in self._temporary:
            if not os.path.isdir(path):
                return path
        try:
            is_here = os.path.samefile(self._cwd, os.curdir)
        except OSError:  # one of them was removed
            is_here = False
        return None if is_here else self._cwd or "the working directory"


class Folder:
    """A folder, and what is in it.

    Its modification time says that nothing has changed. If it differs, the names decide: another process may have
    written a __pycache__ there. Without names (``listing`` is None) any change counts.
    """

    def __init__(self, path, listing):
        self.path = path
        self._listing = listing
        self._stamp = _folder_stamp(path)
        self._names = listing(path) if listing else None

    def has_changed(self):
        stamp = _folder_stamp(self.path)
        if stamp == self._stamp:
            return False
        if stamp is None or self._listing is None or self._listing(self.path) != self._names:
            return True
        self._stamp = stamp
        return False

    def gained_since(self, time_s):
        """Whether a file that can be imported appeared at ``time_s`` or later."""
        try:
            if os.stat(self.path).st_mtime < time_s:
                return False
            with os.scandir(self.path) as entries:
                files = [entry for entry in entries if entry.name.endswith(IMPORTABLE)]
            return any(entry.stat().st_ctime >= time_s and entry.is_file() for entry in files)
        except OSError:  # removed meanwhile
            return False


def importable_names():
    """What is in each folder of sys.path. In site-packages installing or removing anything counts."""
    return {path: _names_of(path) for path in map(os.path.abspath, sys.path)}


def _names_of(folder):
    return _all_names(folder) if os.path.basename(folder) in SITE_FOLDERS else _importable_names(folder)


def _all_names(folder):
    return set(_listed(folder)) - {"__pycache__"}


def _module_files():
    files = set()
    for module in list(sys.modules.values()):
        for path in (_own(module, "__file__"), getattr(_own(module, "__spec__"), "origin", None)):
            if isinstance(path, str) and os.path.isabs(path):
                files.add(path)
    return files


def _own(module, name):
    """An attribute that a module has itself. One with a ``__getattr__`` may import something to find others."""
    try:
        return object.__getattribute__(module, "__dict__").get(name)
    except AttributeError:
        return None


def _package_folders():
    return {path for module in list(sys.modules.values()) for path in _portions(module) if os.path.isdir(path)}


def _portions(module):
    """The folders of a package; empty for any other module."""
    try:
        portions = list(_own(module, "__path__") or ())
    except Exception:  # noqa: BLE001 - the border: a module may be any object, with any __path__
        return []
    return [path for path in portions if isinstance(path, str)]


def _folders_named_as_modules():
    """The folders that an import of a loaded module's name looks at."""
    folders = set()
    for name in list(sys.modules):
        package, _, last = name.rpartition(".")
        for path in _portions(sys.modules.get(package)) if package else sys.path:
            folder = os.path.join(os.path.abspath(path), last)
            if os.path.isdir(folder):
                folders.add(folder)
    return folders


def _missing_folders():
    """The folders that do not exist, and which the ``site`` module adds to sys.path where they do."""
    site = sys.modules.get("site")
    user = [getattr(site, "USER_SITE", None)] if getattr(site, "ENABLE_USER_SITE", None) else []
    folders = [*user, *getattr(site, "getsitepackages", list)()]
    for file in (file for folder in sys.path for file in _pth_files(folder)):
        folders += [os.path.join(os.path.dirname(file), line) for line in _pth_lines(file)]
    return {os.path.abspath(folder) for folder in folders if folder and not os.path.exists(folder)}


def _temporary_folders():
    """The temporary folders that this process removes at its end.

    The registry of finalizers is the only place that knows them. It is no public name, so it may be missing.
    """
    tempfile, weakref = sys.modules.get("tempfile"), sys.modules.get("weakref")
    cleanup = getattr(getattr(tempfile, "TemporaryDirectory", None), "_cleanup", None)
    registry = getattr(getattr(weakref, "finalize", None), "_registry", {})
    found = [info for info in list(registry.values()) if cleanup and info.func == cleanup]
    return [info.args[0] for info in found if info.args and isinstance(info.args[0], str)]


def _pth_files(folder):
    if os.path.basename(folder) not in SITE_FOLDERS:
        return []
    return [os.path.join(folder, name) for name in _listed(folder) if name.endswith(".pth")]


def _pth_lines(file):
    """The lines that name a folder."""
    try:
        with open(file, errors="surrogateescape") as opened:
            lines = opened.read().splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip() and "\0" not in line and not line.startswith(PTH_OTHER)]


def _mapped_files():
    """The files that this process has mapped. One that was replaced meanwhile counts: its path has another file now."""
    files = set()
    with open("/proc/self/maps", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(None, 5)
            # What the process shares and writes to is no part of the image, nor is what has no name in a folder.
            path = fields[5] if len(fields) == 6 and fields[1] != "rw-s" else ""
            if path.startswith("/") and not path.startswith(("/dev/", "/memfd:", "/SYSV")):
                files.add(path)
    # A temporary file that was removed is no part of the image; libffi makes such a file.
    return {path for path in files if not path.endswith(DELETED)} | {
        path[: -len(DELETED)] for path in files if path.endswith(DELETED) and os.path.exists(path[: -len(DELETED)])
    }


def _outermost_file(path):
    """The file that holds a path: for a module in a zip archive, the archive. The path itself if there is none."""
    outer = path
    while outer and not os.path.exists(outer):
        shorter = os.path.dirname(outer)
        if shorter == outer:
            return path
        outer = shorter
    return outer if os.path.isfile(outer) else path


def _file_stamp(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    changed_ns = found.st_ctime_ns if found.st_nlink == 1 else 0
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, changed_ns


def _folder_stamp(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _working_folder():
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _importable_names(folder):
    """The names in a folder that an import could use: modules, folders that may be packages, metadata."""
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(IMPORTABLE) or (entry.name.isidentifier() and entry.is_dir()):
                    names.add(entry.name)
    except OSError:  # not there, or a zip archive
        pass
    names.discard("__pycache__")
    return names


def _init_names(folder):
    return {name for name in _listed(folder) if name.startswith("__init__.")}


def _listed(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []
