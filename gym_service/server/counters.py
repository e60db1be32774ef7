"""Counts what this server does in memory that its parent process can read. Each count costs one write to memory.

Knows an inherited file and the offsets in it. Never knows which process reads them. Python 3.6 and up, standard library
only. The launcher's ``listener/counters.py`` creates the file and assigns the offsets.
"""

import mmap
import os

DEFAULT_BYTES = 4096


class Counters:
    """Four 64-bit numbers and the env id. Without an inherited file, no process reads them."""

    def __init__(self, places=None):
        """``places``: the value of ``--counters``.

        The form is FD:BEGUN:ANSWERED:STEPS:READY:ID. FD is the file; the next four are the indices of the numbers; the
        env id begins at byte ID and may fill the file except for its last byte.
        """
        if places is None:
            self._memory = bytearray(DEFAULT_BYTES)
            self._begun, self._answered, self._steps, self._ready, self._id_at = 0, 1, 2, 3, 32
        else:
            fd, self._begun, self._answered, self._steps, self._ready, self._id_at = map(int, places.split(":"))
            self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
            os.close(fd)
        self._counts = memoryview(self._memory).cast("Q")
        self.episodes = 0  # how many resets the client has made; read in this process alone

    def mark_ready(self):
        """The server can read calls from now on."""
        self._counts[self._ready] = 1

    def call_started(self):
        """A call has arrived."""
        self._counts[self._begun] += 1

    def call_finished(self):
        """The answer to the call is known and is sent next."""
        self._counts[self._answered] += 1

    @property
    def of_calls(self):
        """The numbers, and where those of ``call_started`` and ``call_finished`` are: for code that counts often."""
        return self._counts, self._begun, self._answered

    @property
    def of_steps(self):
        """The same for ``step``."""
        return self._counts, self._steps

    def step(self, count):
        """``count`` envs have stepped."""
        self._counts[self._steps] += count

    @property
    def steps(self):
        """The steps so far."""
        return self._counts[self._steps]

    def set_env_id(self, env_id):
        """The id of the env that this server holds from now on."""
        self.episodes = 0
        text = env_id.encode("utf-8", "backslashreplace")[: len(self._memory) - self._id_at - 1]
        self._memory[self._id_at : self._id_at + len(text)] = text
