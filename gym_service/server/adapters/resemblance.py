"""Whether a value has the structure of a space's values. Only the structure: simulators break the other rules.

Knows the attributes of gym's and Gymnasium's spaces, by name. Never knows an env. Python 3.6 and up.
"""

import numpy as np


def resembles(space, value):
    """Whether a value has the structure of the space's values; ignores dtypes and bounds."""
    for cls in type(space).__mro__:
        test = _TESTS.get(cls.__name__) if cls.__module__.split(".")[0] in ("gym", "gymnasium") else None
        if test is not None:
            return test(space, value)
    return False


def _is_array(space, value):
    return isinstance(value, (np.ndarray, np.generic)) and value.shape == tuple(space.shape)


def _is_integer(space, value):
    return isinstance(value, (int, np.integer))


def _is_text(space, value):
    return isinstance(value, str)


def _is_tuple(space, value):
    is_alike = isinstance(value, (tuple, list)) and len(value) == len(space.spaces)
    return is_alike and all(resembles(part, one) for part, one in zip(space.spaces, value))


def _is_dict(space, value):
    is_alike = isinstance(value, dict) and set(value) == set(space.spaces)
    return is_alike and all(resembles(part, value[key]) for key, part in space.spaces.items())


_TESTS = {
    "Box": _is_array,
    "MultiBinary": _is_array,
    "MultiDiscrete": _is_array,
    "Discrete": _is_integer,
    "Text": _is_text,
    "Tuple": _is_tuple,
    "Dict": _is_dict,
}
