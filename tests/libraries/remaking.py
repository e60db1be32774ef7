"""Runs in a server for ``routed.py``: the env of Gymnasium's tests with the arguments of the test.

Never knows gym-service.
"""

import importlib


def remade(reference, args, kwargs, env):
    """The requested env, in place of the one with all the defaults."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)(*args, **kwargs)
