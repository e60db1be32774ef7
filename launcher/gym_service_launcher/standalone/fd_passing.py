"""Passes file descriptors over Unix sockets. No other module of the launcher does.

Knows SCM_RIGHTS. Never knows what a descriptor is for. Standard library only, Python 3.6 and up: the guardian loads it
by path. The server half has its own copy, ``gym_service/transport/fd_passing.py``: neither package can import the
other.
"""

# Not socket, which takes the guardian longer to import than all else.
import _socket
import os
import struct

CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
# Without it, a program that has set SIGPIPE back would be killed where the peer has ended.
NO_SIGNAL = getattr(_socket, "MSG_NOSIGNAL", 0)
FD_BYTES = struct.calcsize("i")


def flags_for(sock):
    """The flags with which a socket sends without SIGPIPE. TLS takes none, and raises the signal."""
    return 0 if hasattr(sock, "getpeercert") else NO_SIGNAL


def send(sock, data, fds):
    """Send ``data``, at least one byte, with the descriptors. Blocks until the kernel has taken the data.

    Raises OSError if the peer has closed the socket. The descriptors stay open here.
    """
    rights = struct.pack("%di" % len(fds), *fds)
    sent = sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)], NO_SIGNAL)
    if sent < len(data):
        sock.sendall(data[sent:], NO_SIGNAL)


def receive(sock, size_bytes, max_fds):
    """(data, descriptors, whether descriptors were lost) of one message, of ``size_bytes`` at most.

    Children of this process do not inherit the descriptors. Descriptors beyond the limit of this process are lost.
    """
    data, ancillary, flags, _ = sock.recvmsg(size_bytes, _socket.CMSG_SPACE(max_fds * FD_BYTES), CLOSE_ON_EXEC)
    fds = []
    for level, kind, content in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            count = len(content) // FD_BYTES
            fds += struct.unpack("%di" % count, content[: count * FD_BYTES])
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds, bool(flags & _socket.MSG_CTRUNC)
