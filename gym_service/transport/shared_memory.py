"""Anonymous memory that two processes share: handed over as a descriptor and mapped; then the descriptor is closed.

Knows memfd_create, mmap and seals. Never knows slots or arrays. Python 3.6 and up; runs on both sides.

Memory without a name leaves nothing behind, even if both sides are killed at once. All of its pages are allocated when
it is made, so that a machine without free memory refuses here, once, and never answers a write with SIGBUS. Seals keep
the other side from truncating it. Rejected: multiprocessing.shared_memory, whose tracker destroys memory that is in use
and leaks memory that is not; the mmap module, which before Python 3.13 holds a descriptor as long as the memory lives.
"""

import collections
import fcntl
import functools
import itertools
import os
import sys
import tempfile
import weakref

from gym_service.protocol.interrupts import is_foreign

try:
    import ctypes
except ImportError:  # a Python built without libffi
    ctypes = None  # type: ignore[assignment]

# From the kernel's headers; Python 3.6 to 3.8 lack names for some of them.
F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SEALS = 0x1 | 0x2 | 0x4  # no more seals, no shrinking, no growing
MFD_CLOEXEC, MFD_ALLOW_SEALING = 0x1, 0x2
PROT_READ_WRITE, MAP_SHARED = 0x1 | 0x2, 0x1
# Linux's, for memory of no file, and for a move that replaces what is mapped at an address.
MAP_PRIVATE_ANONYMOUS, MREMAP_TO = 0x2 | 0x20, 0x1 | 0x2
# Linux: map all pages now. Otherwise each costs 0.25 us when it is first touched.
MAP_POPULATE = 0x8000 if sys.platform.startswith("linux") else 0


def _functions():
    """(mmap, munmap, memfd_create, mremap) of the C library; None without ctypes. The last two may be missing."""
    if ctypes is None:
        return None
    library = ctypes.CDLL(None, use_errno=True)
    map_, unmap = library.mmap, library.munmap
    map_.restype = ctypes.c_void_p
    map_.argtypes = (ctypes.c_void_p, ctypes.c_size_t) + (ctypes.c_int,) * 3 + (ctypes.c_long,)
    unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    remap = getattr(library, "mremap", None)
    if remap is not None:
        remap.restype = ctypes.c_void_p
        remap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
    return map_, unmap, getattr(library, "memfd_create", None), remap


_C = _functions()
# The value that mmap returns when it fails: MAP_FAILED.
_FAILED = None if ctypes is None else ctypes.c_void_p(-1).value


class Memory:
    """``size_bytes`` of readable and writable memory at ``address``, for as long as this object lives.

    Only C code maps it, stores its address and unmaps it. Python code could be interrupted in between. Besides, Python
    prints and drops an exception that a signal handler raises inside ``__del__``, so the user would never get it.
    """

    def __init__(self, fd, size_bytes):
        """Map the memory of a descriptor, which the caller keeps and closes. Raises OSError."""
        if _C is None:
            raise OSError("this Python has no ctypes")
        self.size_bytes = size_bytes
        self.address = None  # for a fork that comes before the last lines
        self.is_shared = True
        place = ctypes.c_void_p(_FAILED)  # the address, once it is mapped; munmap refuses the value _FAILED
        _unmap_at_death(self, functools.partial(_C[1], place, size_bytes))
        arguments = None, size_bytes, PROT_READ_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0
        mapped = itertools.starmap(_C[0], (arguments,))
        collections.deque(map(setattr, (place,), ("value",), mapped), maxlen=0)  # place.value = mmap(*arguments)
        self.address = place.value
        if self.address in (None, _FAILED):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def make_private(self):
        """Replace it by a copy at the same address, which no other process can see. Raises OSError.

        An interrupt leaves the one or the other there.
        """
        if _C is None or _C[3] is None:  # macOS
            raise OSError("this system moves no memory to an address in use")
        size_bytes = self.size_bytes
        copy = _C[0](None, size_bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)
        if copy in (None, _FAILED):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        ctypes.memmove(copy, self.address, size_bytes)
        if _C[3](copy, size_bytes, size_bytes, MREMAP_TO, self.address) == _FAILED:
            failure = ctypes.get_errno()
            _C[1](copy, size_bytes)
            raise OSError(failure, os.strerror(failure))
        self.is_shared = False


class _Reference(weakref.ref):
    """Calls munmap when its Memory dies. The callback gets this reference as one more argument; ctypes passes a 0."""

    _as_parameter_ = 0


_references = {}  # type: dict


def _unmap_at_death(memory, unmap):
    for key, reference in list(_references.items()):
        if reference() is None:
            _references.pop(key, None)
    reference = _Reference(memory, unmap)
    _references[id(reference)] = reference


def _shared():
    """The memory of this process that other processes may see."""
    found = [reference() for reference in list(_references.values())]
    return [memory for memory in found if memory is not None and memory.address is not None and memory.is_shared]


def is_any_shared():
    """Whether other processes may see any memory of this one."""
    return bool(_shared())


def make_private():
    """In a forked child: make all memory private that is still mapped. What cannot be stays shared with the parent.

    May be called repeatedly.
    """
    for memory in _shared():
        try:
            memory.make_private()
        except OSError as error:  # no memory is left, or the system cannot do it
            if is_foreign(error):
                raise


def create(size_bytes, fds):
    """Make new memory with all pages allocated, and append its descriptor to ``fds``. Raises OSError if that fails.

    The caller closes the descriptor, also if this fails or is interrupted.
    """
    if not sys.platform.startswith("linux"):  # macOS: a file that is unlinked at once
        with tempfile.TemporaryFile() as file:
            fds.append(os.dup(file.fileno()))
    elif hasattr(os, "memfd_create"):  # new in Python 3.8
        fds += map(os.memfd_create, ("gym-service",), (MFD_CLOEXEC | MFD_ALLOW_SEALING,))  # novermin
    else:
        fds.append(_memfd())
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fds[-1], 0, size_bytes)
    else:  # macOS
        _write_zeros(fds[-1], size_bytes)
    if sys.platform.startswith("linux"):
        _seal(fds[-1])


def check(fd, size_bytes):
    """Raise OSError unless the other side's descriptor is memory of at least this size that cannot shrink."""
    if os.fstat(fd).st_size < size_bytes:
        raise OSError("memory of %d bytes where %d were announced" % (os.fstat(fd).st_size, size_bytes))
    if sys.platform.startswith("linux") and fcntl.fcntl(fd, F_GET_SEALS) & SEALS != SEALS:
        raise OSError("memory that the other side can still truncate")


def _memfd():
    """memfd_create through the C library, for Python 3.6 and 3.7."""
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
