"""What a server runs for ``routed.py``: the env of Gymnasium's tests with the arguments that the test gave.

Never knows gym-service.
"""

import importlib


def remade(reference, args, kwargs, env):
    """The env that was asked for, in place of the one with all the defaults."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)(*args, **kwargs)
