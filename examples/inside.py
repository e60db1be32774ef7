"""What two_simulators.py asks its simulators. Runs in their interpreters: Python 3.6 and up."""

import importlib


def version(env, package):
    """The version of a package there. The env comes first, as with every function that is named to ``env.call``."""
    return importlib.import_module(package).__version__
