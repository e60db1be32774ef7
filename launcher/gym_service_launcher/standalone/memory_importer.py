"""Imports modules from memory, so that no file of ours is ever on a remote side's disk.

It is executed as text, before any other module of ours can be imported. Knows Python's import system. Never knows what
the modules do. Standard library only, Python 3.6 and up.

Rejected: a temporary folder, since a process killed by SIGKILL does not remove it.
"""

import importlib.abc
import importlib.machinery
import sys

# The prefix of the file names in tracebacks. No disk has such a file.
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
    """Make the modules importable. They take precedence over installed modules of the same name."""
    sys.meta_path.insert(0, MemoryImporter(sources))
