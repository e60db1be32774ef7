"""Imports modules from memory, so that no file of ours is ever on the disk of a remote side.

It is executed as a text, before anything else of ours can be imported. Knows Python's import system. Never knows what
the modules do. Standard library only, Python 3.6 and up.

Rejected: a temporary folder, which a process killed by SIGKILL does not remove.
"""

import importlib.abc
import importlib.machinery
import sys

# The beginning of the file names in tracebacks. No such file is on any disk.
SENT = "(sent)/"


class MemoryImporter(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Finds and loads the modules in ``sources``: texts by path, such as ``gym_service/server/loop.py``.

    Tracebacks show the lines of such modules, since Python asks the loader for the source.
    """

    def __init__(self, sources):
        self._sources = sources

    def find_spec(self, fullname, path=None, target=None):
        found = self._path(fullname)
        if found is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=SENT + found, is_package=self.is_package(fullname))
        spec.has_location = True  # otherwise the module would have no __file__
        return spec

    def is_package(self, fullname):
        return self._path(fullname).endswith("/__init__.py")

    def get_filename(self, fullname):
        return SENT + self._path(fullname)

    def get_source(self, fullname):
        return self._sources[self._path(fullname)]

    def _path(self, fullname):
        name = fullname.replace(".", "/")
        return next((path for path in (name + "/__init__.py", name + ".py") if path in self._sources), None)


def install(sources):
    """Make the modules importable. They come before installed modules of the same name."""
    sys.meta_path.insert(0, MemoryImporter(sources))
