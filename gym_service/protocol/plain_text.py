"""Values as short texts for people, without running any code of the simulator's.

Knows Python's and numpy's plain types. A value of any other class is shown as its class's name: its ``__repr__`` could
have an effect. Python 3.6 and up.
"""

import numpy as np

from gym_service.protocol.values import class_name

MAX_ROWS, MAX_ITEMS, MAX_DEPTH = 60, 8, 3
MAX_CHARS, MAX_KEY_CHARS = 200, 80
PLAIN_NUMBERS = "biufc"


def rows_of(value):
    """[(key, text)] of a dict; one row without a key for any other value."""
    if not issubclass(type(value), dict):
        return [("", text_of(value))]
    # The methods of dict itself: a subclass may have its own.
    rows = [(_key(key), text_of(item)) for key, item in _first(dict.items(value), MAX_ROWS)]
    more = dict.__len__(value) - MAX_ROWS
    return [*rows, ("…", "%d more" % more)] if more > 0 else rows


def text_of(value, depth=0):
    """A value in at most MAX_CHARS characters."""
    return _cut(_text(value, depth), MAX_CHARS)


def _text(value, depth):
    kind = type(value)
    if kind in (bool, int, float, complex, type(None)):
        return repr(value)
    if kind is str:
        return repr(value[:MAX_CHARS])
    if kind is bytes:
        return "%d bytes" % len(value)
    if isinstance(value, np.generic):
        return repr(value.item()) if value.dtype.kind in PLAIN_NUMBERS else class_name(kind)
    if kind is np.ndarray:
        return _array(value)
    if kind in (dict, list, tuple) and depth >= MAX_DEPTH:
        return "%s of %d" % (class_name(kind), len(value))
    if kind is dict:
        items = ["%s: %s" % (_key(key), text_of(item, depth + 1)) for key, item in _first(value.items(), MAX_ITEMS)]
        return "{%s%s}" % (", ".join(items), ", …" if len(value) > MAX_ITEMS else "")
    if kind in (list, tuple):
        items = [text_of(item, depth + 1) for item in value[:MAX_ITEMS]]
        text = ", ".join(items) + (", …" if len(value) > MAX_ITEMS else "")
        return "[%s]" % text if kind is list else "(%s)" % text
    return class_name(kind)


def _first(items, count):
    return [item for _, item in zip(range(count), items)]


def _key(key):
    return _cut(key if type(key) is str else text_of(key, MAX_DEPTH), MAX_KEY_CHARS)


def _array(array):
    if array.size <= MAX_ITEMS and array.dtype.kind in PLAIN_NUMBERS:
        return repr(array.tolist())
    return "%s array, shape %r" % (array.dtype, array.shape)


def _cut(text, limit):
    return text if len(text) <= limit else text[: limit - 1] + "…"
