"""Splits one ``done`` into terminated and truncated: the one conversion of a step written before gym 0.26.

Knows the four values of such a step. Never knows an env or the wire. Python 3.6 and up.
"""

import numpy as np

TRUNCATED = "TimeLimit.truncated"


def split(result):
    """(observation, reward, done, info) as five values.

    A ``done`` that is a single boolean becomes terminated, or truncated if the info says ``TimeLimit.truncated``. The
    flag that stays False keeps the type of ``done``; ``truncated`` is a plain bool. Any other ``done``, such as one
    value per agent, becomes terminated unchanged.
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
    """Whether a value is a single boolean: Python's, numpy's, or an array that holds one number."""
    is_array = isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf"
    return is_array or type(value) in (bool, np.bool_)


def says_yes(value):
    """Whether an entry of an info is definitely true."""
    return (is_boolean(value) or type(value) is int) and bool(value)
