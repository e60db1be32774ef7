"""Memory that two processes share: without a name, handed over as a descriptor, mapped; then the descriptor is closed.

Knows memfd_create, mmap and seals. Never knows slots or arrays. Python 3.6 and up; runs on both sides.

Without a name nothing can be left behind, not even where both sides are killed at once. All of its pages are taken up
front, so that a full machine refuses here, once, and never answers a write with SIGBUS; the seals keep the other side
from cutting them off again. Rejected: multiprocessing.shared_memory, whose tracker destroys memory that lives and leaks
what is dead; the mmap module, which before Python 3.13 holds a descriptor for as long as the memory lives.
"""

import fcntl
import os
import sys
import tempfile

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None  # type: ignore[assignment]

# From the kernel's headers; Python 3.6 to 3.8 has no names for all of them.
F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SEALS = 0x1 | 0x2 | 0x4  # no more seals, no shrinking, no growing
MFD_CLOEXEC, MFD_ALLOW_SEALING = 0x1, 0x2
PROT_READ_WRITE, MAP_SHARED = 0x1 | 0x2, 0x1
# Linux: map all pages now, rather than at 0.25 us for each when it is first touched.
MAP_POPULATE = 0x8000 if sys.platform.startswith("linux") else 0


def _functions():
    """(mmap, munmap, memfd_create) of the C library, the last one None where there is none; None without ctypes."""
    if ctypes is None:
        return None
    library = ctypes.CDLL(None, use_errno=True)
    map_, unmap = library.mmap, library.munmap
    map_.restype = ctypes.c_void_p
    map_.argtypes = (ctypes.c_void_p, ctypes.c_size_t) + (ctypes.c_int,) * 3 + (ctypes.c_long,)
    unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return map_, unmap, getattr(library, "memfd_create", None)


_C = _functions()


class Memory:
    """So many bytes at ``address``, readable and writeable, for as long as this object lives."""

    def __init__(self, fd, size_bytes):
        """Map a descriptor's memory, which stays the caller's to close. Raises OSError."""
        if _C is None:
            raise OSError("this Python has no ctypes")
        self._unmap = _C[1]  # kept here: at the interpreter's end this module's names may go first
        self.address = None
        self.size_bytes = size_bytes
        address = _C[0](None, size_bytes, PROT_READ_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.address = address

    def __del__(self):
        if self.address is not None:
            self._unmap(self.address, self.size_bytes)


def create(size_bytes):
    """A descriptor of new memory, all of its pages taken. Raises OSError where it cannot be had."""
    fd = _nameless_fd()
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size_bytes)
        else:  # macOS
            _write_zeros(fd, size_bytes)
        if sys.platform.startswith("linux"):
            _seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check(fd, size_bytes):
    """Raise OSError unless a descriptor of the other side is memory of this size that stays so."""
    if os.fstat(fd).st_size < size_bytes:
        raise OSError("memory of %d bytes where %d were announced" % (os.fstat(fd).st_size, size_bytes))
    if sys.platform.startswith("linux") and fcntl.fcntl(fd, F_GET_SEALS) & SEALS != SEALS:
        raise OSError("memory that the other side may still cut off")


def _nameless_fd():
    if sys.platform.startswith("linux"):
        return _memfd()
    # macOS: a file that is unlinked at once.
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _memfd():
    if hasattr(os, "memfd_create"):  # new in Python 3.8
        return os.memfd_create("gym-service", MFD_CLOEXEC | MFD_ALLOW_SEALING)  # novermin
    if _C is None or _C[2] is None:
        raise OSError("this system has no memfd_create")
    fd = _C[2](b"gym-service", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def _seal(fd):
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)


def _write_zeros(fd, size_bytes):
    block = bytes(2**20)
    while size_bytes > 0:
        size_bytes -= os.write(fd, block[:size_bytes])
