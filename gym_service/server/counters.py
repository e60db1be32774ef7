"""What this server does, counted where whoever started it can look on, at the cost of a write to memory.

Knows an inherited page of memory. Never knows who looks. Python 3.6 and up, standard library only.

The page begins with four numbers of 64 bits: calls begun, calls whose answer is known, steps (of a vector env, of each
of its envs), and 1 once the server is up. Then stands the env id, in UTF-8, to a NUL. The launcher's
``listener/counters.py`` reads it;
the two halves share no module.
"""

import mmap
import os

PAGE_BYTES = mmap.PAGESIZE
ID_AT = 32


class Counters:
    """Counts; without a page, for nobody."""

    def __init__(self, fd=None):
        if fd is None:
            self._memory = bytearray(PAGE_BYTES)
        else:
            self._memory = mmap.mmap(fd, PAGE_BYTES)
            os.close(fd)
        self._counts = memoryview(self._memory)[:ID_AT].cast("Q")

    def mark_ready(self):
        """From here on what the client asks is read."""
        self._counts[3] = 1

    def call_started(self):
        """A call has come."""
        self._counts[0] += 1

    def call_finished(self):
        """Its answer is known, and about to be sent."""
        self._counts[1] += 1

    def step(self, count):
        """So many envs have made a step."""
        self._counts[2] += count

    def set_env_id(self, env_id):
        """What is stepped here."""
        text = env_id.encode("utf-8", "backslashreplace")[: PAGE_BYTES - ID_AT - 1]
        self._memory[ID_AT : ID_AT + len(text)] = text
