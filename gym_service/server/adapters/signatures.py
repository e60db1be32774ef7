"""The parameters of an env's methods and constructor, as far as their signatures state them.

Knows signatures. Never knows an env's state, and calls none of its methods. Python 3.6 and up.
"""

import inspect

from gym_service.server.adapters import attributes


class Accepted:
    """The parameters of a callable: ``names``, whether it takes ``anything`` by keyword, what it ``requires``."""

    def __init__(self, function):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C, or a decorator hides the signature
            self.names, self.anything, self.required = frozenset(), True, []
            return
        by_name = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        self.names = frozenset(parameter.name for parameter in by_name)
        self.anything = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
        self.required = [parameter.name for parameter in by_name if parameter.default is parameter.empty]

    def __contains__(self, name):
        return self.anything or name in self.names


def takes_one(method):
    """Whether a method can be called with one argument. procgen's ``seed()`` takes none."""
    try:
        inspect.signature(method).bind(None)
    except TypeError:
        return False
    except ValueError:  # written in C
        return True
    return True


def accepted_by_creator(creator):
    """The parameters of the callable that makes an env.

    For a class, those of its ``__init__``: inspect would read the ``__new__`` of gym 0.25's Env first, which takes
    anything. A class without its own ``__init__`` takes nothing, although object's signature says that it takes
    anything.
    """
    if not inspect.isclass(creator):
        return Accepted(creator)
    return Accepted(_nothing if creator.__init__ is object.__init__ else creator.__init__)


def accepted_by_reset(env):
    """The parameters of the decisive ``reset()``: that of the outermost layer that names its own parameters.

    The libraries' wrappers, and layers that take anything, pass their arguments on.
    """
    for layer in attributes.layers(env):
        accepted = Accepted(layer.reset)
        module = getattr(getattr(type(layer), "reset", None), "__module__", None) or ""
        if not accepted.anything and module.partition(".")[0] not in ("gym", "gymnasium"):
            break
    return accepted


def accepted_by_render(env):
    """The parameters of an env's ``render()``. gym 0.25 wraps it in a function that takes anything; unwraps it."""
    render = getattr(type(env) if not inspect.isclass(env) else env, "render", None)
    for cell in getattr(render, "__closure__", None) or ():
        if render.__module__ == "gym.core" and inspect.isfunction(cell.cell_contents):
            render = cell.cell_contents
    return Accepted(_nothing if render is None else render)


def _nothing():
    pass
