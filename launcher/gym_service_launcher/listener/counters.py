"""What a server does, in numbers: a page of memory that the server writes and this process reads.

Owns the layout of that page, and tells it to the server on its command line (``gym_service/server/counters.py``).
Never knows what a step is. Python 3.10 and up.
"""

import mmap
import os
import struct
import tempfile

PAGE_BYTES = mmap.PAGESIZE
# The page begins with four numbers: calls begun; calls whose answer is known; steps, of a vector env those of each of
# its envs; and 1 once the server is up. The env id follows, in UTF-8, ended by NUL.
COUNTS = struct.Struct("=4Q")
BEGUN, ANSWERED, STEPS, READY = range(4)


class Counters:
    """The page of one server."""

    def __init__(self) -> None:
        """Raises OSError where there is neither memory nor disk space for it."""
        self.fd = _unnamed_file()
        try:
            os.posix_fallocate(self.fd, 0, PAGE_BYTES)
            self._memory = mmap.mmap(self.fd, PAGE_BYTES)
        except BaseException:
            os.close(self.fd)
            raise

    @staticmethod
    def option(fd: int) -> str:
        """The value of the server's ``--counters``, where the server inherits the page as ``fd``."""
        return ":".join(map(str, (fd, BEGUN, ANSWERED, STEPS, READY, COUNTS.size)))

    def counts(self) -> tuple[int, int, int]:
        """Calls begun, calls whose answer is known, steps."""
        numbers = COUNTS.unpack_from(self._memory)
        return numbers[BEGUN], numbers[ANSWERED], numbers[STEPS]

    @property
    def is_up(self) -> bool:
        """Whether the server reads what its client asks."""
        return bool(COUNTS.unpack_from(self._memory)[READY])

    @property
    def env_id(self) -> str:
        """Empty until an env is made."""
        text = self._memory[COUNTS.size :].partition(b"\0")[0]
        return text.decode("utf-8", "backslashreplace")

    def close_fd(self) -> None:
        """Close the descriptor, once the server has it. The memory stays."""
        os.close(self.fd)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gym-service counters", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
