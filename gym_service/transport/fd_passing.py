"""Passes file descriptors over Unix sockets: the only place of the two halves that does.

Knows SCM_RIGHTS. Never knows what a descriptor is for. Python 3.6 and up; runs on both sides. The launcher has one of
its own, ``standalone/fd_passing.py``: neither package can import the other where it runs alone.
"""

import os
import socket
import struct

IS_SUPPORTED = hasattr(socket, "SCM_RIGHTS")
FD_BYTES = struct.calcsize("i")


def send(sock, data, fd):
    """Send ``data`` in one message, and a descriptor beside it, which stays open here. Raises OSError."""
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))])


def receive(sock, size_bytes):
    """(data, descriptors): what one message holds, of ``size_bytes`` at most.

    The caller closes the descriptors. There may be none where one was sent: with too many files open the kernel drops
    it. There may be two where the sender sent more than one: the space for one has room for two. Raises OSError.
    """
    data, ancillary, _, _ = sock.recvmsg(size_bytes, socket.CMSG_SPACE(FD_BYTES))
    fds = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            count = len(content) // FD_BYTES
            fds += struct.unpack("%di" % count, content[: count * FD_BYTES])
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds
