"""Passes file descriptors over Unix sockets: the only place of the two halves that does.

Knows SCM_RIGHTS. Never knows what a descriptor is for. Python 3.6 and up; runs on both sides. The launcher has one of
its own, ``standalone/fd_passing.py``: neither package can import the other where it runs alone.
"""

import os
import socket
import struct

IS_SUPPORTED = hasattr(socket, "SCM_RIGHTS")
FD_BYTES = struct.calcsize("i")
SPACE_BYTES = socket.CMSG_SPACE(FD_BYTES) if IS_SUPPORTED else 0


def beside(fd):
    """The ancillary data that carries a descriptor, for ``sendmsg``."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]


def descriptors_in(ancillary):
    """The descriptors that have come with a message, as ``recvmsg`` gave them with room for SPACE_BYTES.

    The caller closes them. There may be none where one was sent: with too many files open the kernel drops it. There
    may be two where the sender sent more than one: the space for one has room for two.
    """
    fds = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            count = len(content) // FD_BYTES
            fds += struct.unpack("%di" % count, content[: count * FD_BYTES])
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


def receive(sock, size_bytes):
    """(data, descriptors): what one message holds, of ``size_bytes`` at most. Raises OSError."""
    data, ancillary, _, _ = sock.recvmsg(size_bytes, SPACE_BYTES)
    return data, descriptors_in(ancillary)
