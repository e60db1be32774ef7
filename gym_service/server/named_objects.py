"""``{"object": "package.module:attribute"}`` in the keyword arguments of an env: an object of the simulator's process.

Knows this form and where in a value it may stand: in dicts, lists and tuples, at any depth. Never knows how a name is
resolved or which clients may use one. Python 3.6 and up.
"""

import re

OBJECT = "object"
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def name_of(value):
    """The name if the value has this form, else None. Any other dict is an ordinary value."""
    if type(value) is dict and len(value) == 1:
        name = value.get(OBJECT)
        if type(name) is str and NAME.fullmatch(name):
            return name
    return None


def names_in_arguments(kwargs):
    """All names of objects in keyword arguments. A keyword of the name ``object`` is a keyword like any other."""
    return [name for value in kwargs.values() for name in names_in(value)]


def resolved_arguments(kwargs, resolve):
    """The keyword arguments with each name replaced by its object."""
    return {key: resolved(value, resolve) for key, value in kwargs.items()}


def names_in(value):
    """All names of objects in a value."""
    name = name_of(value)
    if name is not None:
        return [name]
    items = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return [name for item in items for name in names_in(item)]


def resolved(value, resolve):
    """The value with each name replaced by its object; the same object if it contains no name."""
    if not names_in(value):
        return value
    name = name_of(value)
    if name is not None:
        return resolve(name)
    if type(value) is dict:
        return {key: resolved(item, resolve) for key, item in value.items()}
    return type(value)(resolved(item, resolve) for item in value)
