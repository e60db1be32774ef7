"""The call and step counters of a server, read from a page of memory that it shares with this process.

Knows the numbers on the page. Never knows how they are counted. Python 3.10 and up. The writing half is
``gym_service/server/counters.py``; the form stands there too, since the two halves share no module.
"""

import mmap
import os
import struct
import tempfile

PAGE_BYTES = mmap.PAGESIZE
# Calls begun, calls whose answer is known, steps (of a vector env, of each of its envs), whether the server is up; then
# the env id, to a NUL.
COUNTS = struct.Struct("=4Q")


class Counters:
    """The page of one server. ``fd`` is what the server is given."""

    def __init__(self) -> None:
        """Raises OSError where there is neither memory nor a disk for it."""
        self.fd = _unnamed_file()
        try:
            os.posix_fallocate(self.fd, 0, PAGE_BYTES)
            self._memory = mmap.mmap(self.fd, PAGE_BYTES)
        except BaseException:
            os.close(self.fd)
            raise

    def counts(self) -> tuple[int, int, int]:
        """Calls begun, calls whose answer is known, steps."""
        return COUNTS.unpack_from(self._memory)[:3]

    @property
    def is_up(self) -> bool:
        """Whether the server has come so far that it reads what its client asks."""
        return bool(COUNTS.unpack_from(self._memory)[3])

    @property
    def env_id(self) -> str:
        """Empty until an env is made."""
        text = self._memory[COUNTS.size :].partition(b"\0")[0]
        return text.decode("utf-8", "backslashreplace")

    def close_fd(self) -> None:
        """Once the server has it; the memory stays."""
        os.close(self.fd)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gym-service tally", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
