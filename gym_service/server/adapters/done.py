"""One ``done`` as terminated and truncated: the one conversion of a step that was written before gym 0.26.

Knows the four values of such a step. Never knows an env or the wire. Python 3.6 and up.
"""

import numpy as np

TRUNCATED = "TimeLimit.truncated"


def split(result):
    """(observation, reward, done, info) as five values.

    A ``done`` that is one boolean becomes terminated, or truncated where the info says ``TimeLimit.truncated``. The
    one that stays False keeps the type of ``done``; ``truncated`` is a plain bool. What is no single boolean, such as
    one value for each agent, stays as it is in the place of terminated.
    """
    observation, reward, done, info = result
    by_the_clock = isinstance(info, dict) and says_yes(dict.get(info, TRUNCATED, False))
    if not is_boolean(done):
        return observation, reward, done, by_the_clock, info
    if not (by_the_clock and done):
        return observation, reward, done, False, info
    terminated = np.zeros_like(done) if isinstance(done, np.ndarray) else type(done)(False)
    return observation, reward, terminated, True, info


def is_boolean(value):
    """Whether it is one boolean: Python's, numpy's, or an array that holds one number."""
    is_array = isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf"
    return is_array or type(value) in (bool, np.bool_)


def says_yes(value):
    """Whether an entry of an info is true beyond doubt."""
    return (is_boolean(value) or type(value) is int) and bool(value)
