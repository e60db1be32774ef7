"""Ends the threads of OpenBLAS that wait for work, right after numpy has loaded it.

Knows numpy's extension module and the threads of this process. Never knows an env. Python 3.6 and up; only Linux.

When OpenBLAS is loaded, it starts a thread for each core but one. Each thread spins for some 0.1 s before it sleeps.
Meanwhile it takes its core from what a start has to do: the imports of this server, of the client, and of servers that
start at the same time. OpenBLAS ends its threads before a fork, and starts as many again with its next large product.
So this process forks a child that does nothing. Results do not change, nor the number of threads that work later. They
have the affinity and the priority of the thread that needs them first.
"""

import os
import sys
import warnings
from importlib.machinery import ExtensionFileLoader

# The module that loads OpenBLAS: since numpy 2.0, and before.
LOADERS = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
THREADS = "/proc/self/task"


def end_once_loaded():
    """End them as soon as numpy is imported. Does nothing if numpy is loaded already, or other threads run here.

    Returns a function to call after the import.
    """
    finder = _Finder()
    if "numpy" not in sys.modules and _thread_count() == 1:
        sys.meta_path.insert(0, finder)

    def stop():
        if finder in sys.meta_path:  # before numpy 1.16 there is no such module
            sys.meta_path.remove(finder)

    return stop


class _Finder:
    """Finds numpy's extension as the other finders do. It leaves ``sys.meta_path`` then."""

    def find_spec(self, fullname, path, target=None):
        if fullname not in LOADERS:
            return None
        sys.meta_path.remove(self)
        for finder in list(sys.meta_path):
            # Before Python 3.12 a finder may have only find_module, which finds nothing of numpy's.
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find else None
            if spec is not None:
                if type(spec.loader) is ExtensionFileLoader:  # another one may be a class, or allow no new attribute
                    _end_after_loading(spec.loader)
                return spec
        return None


def _end_after_loading(loader):
    initialize = loader.exec_module

    def initialize_without_threads(module):
        del loader.exec_module  # the class's method is in its place again
        if _thread_count() > 1:
            _fork_once()
        initialize(module)

    loader.exec_module = initialize_without_threads


def _fork_once():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the threads that the fork has ended
            pid = os.fork()
            if not pid:
                os._exit(0)
        os.waitpid(pid, 0)
    # A limit on processes, someone else has reaped the child, or an audit hook allows no fork. Then they spin.
    except (OSError, RuntimeError):
        pass


def _thread_count():
    """The number of threads of this process; 0 if the system does not tell."""
    try:
        return len(os.listdir(THREADS))
    except OSError:
        return 0
