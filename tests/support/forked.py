"""A forked child of the test that looks at what it holds, once its parent has gone on.

Knows processes and pipes. Never knows where the arrays come from. Python 3.10 and up.
"""

import os
import warnings
from collections.abc import Callable, Sequence

import numpy as np


def forked(held: Sequence[np.ndarray]) -> Callable[[], list[tuple[int, int]]]:
    """Fork a child that holds arrays of bytes. The result has it look, and returns their least and largest values."""
    go_read, go_write = os.pipe()
    seen_read, seen_write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a thread of the client reads each server's output
        pid = os.fork()
    if pid == 0:
        try:
            os.close(go_write)
            os.read(go_read, 1)  # until the parent closes its end
            os.write(seen_write, bytes([value for each in held for value in (each.min(), each.max())]))
        finally:
            os._exit(0)
    os.close(go_read)
    os.close(seen_write)

    def seen() -> list[tuple[int, int]]:
        os.close(go_write)
        found = os.read(seen_read, 4096)
        os.close(seen_read)
        os.waitpid(pid, 0)
        return list(zip(found[::2], found[1::2], strict=True))

    return seen
