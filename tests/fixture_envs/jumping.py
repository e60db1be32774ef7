"""When imported, moves its process's wall clock, as Python reads it, an hour or a day back and forth.

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
