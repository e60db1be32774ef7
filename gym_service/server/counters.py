"""Counts what this server does, in memory that the process which started it can read. A count costs a write to memory.

Knows an inherited file and the places in it. Never knows who reads them. Python 3.6 and up, standard library only. The
launcher's ``listener/counters.py`` creates the file and decides on the places.
"""

import mmap
import os

DEFAULT_BYTES = 4096


class Counters:
    """Four numbers of 64 bits, and the env id. Without an inherited file, nobody reads them."""

    def __init__(self, places=None):
        """``places``: the value of ``--counters``.

        That is FD:BEGUN:ANSWERED:STEPS:READY:ID. FD is the file; the next four are the indices of the numbers; the id
        begins at byte ID and may reach to the end of the file but one.
        """
        if places is None:
            self._memory = bytearray(DEFAULT_BYTES)
            self._begun, self._answered, self._steps, self._ready, self._id_at = 0, 1, 2, 3, 32
        else:
            fd, self._begun, self._answered, self._steps, self._ready, self._id_at = map(int, places.split(":"))
            self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
            os.close(fd)
        self._counts = memoryview(self._memory).cast("Q")

    def mark_ready(self):
        """From here on the server reads what its client asks."""
        self._counts[self._ready] = 1

    def call_started(self):
        """A call has come."""
        self._counts[self._begun] += 1

    def call_finished(self):
        """Its answer is known, and about to be sent."""
        self._counts[self._answered] += 1

    def step(self, count):
        """``count`` envs have made a step."""
        self._counts[self._steps] += count

    def set_env_id(self, env_id):
        """The env that is stepped here."""
        text = env_id.encode("utf-8", "backslashreplace")[: len(self._memory) - self._id_at - 1]
        self._memory[self._id_at : self._id_at + len(text)] = text
