"""Imported, it sets the wall clock of its process, as far as Python reads it, an hour or a day off, back and forth.

Knows the time module. Python 3.6 and up.
"""

import itertools
import time

OFFSETS_S = itertools.cycle((3600.0, -3600.0, 86400.0, 0.0, -86400.0))
true_time = time.time


def jumping_time():
    return true_time() + next(OFFSETS_S)


time.time = jumping_time
time.time_ns = lambda: int(jumping_time() * 1e9)
