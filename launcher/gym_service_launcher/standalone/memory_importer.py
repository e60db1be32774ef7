"""Modules that have arrived over a link: imported from memory, so that nothing of ours ever lies on a disk there.

Executed as a text, before anything else of ours can be imported. Knows Python's import system. Never knows what the
modules do. Standard library only, Python 3.6 and up.

Why not a temporary folder: whoever is killed by signal 9 does not remove it.
"""

import importlib.abc
import importlib.machinery
import sys

# Stands in tracebacks before the name of a file that is on no disk, least of all in the working directory.
SENT = "(sent)/"


class MemoryImporter(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Finds and loads what is in ``sources``: texts by path, ``gym_service/server/loop.py``.

    Tracebacks show their lines: Python asks a module's loader for the source.
    """

    def __init__(self, sources):
        self._sources = sources

    def find_spec(self, fullname, path=None, target=None):
        found = self._path(fullname)
        if found is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=SENT + found, is_package=self.is_package(fullname))
        spec.has_location = True  # else it would have no __file__
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
    """Make the modules importable, before any of the same name that may be installed."""
    sys.meta_path.insert(0, MemoryImporter(sources))
