"""The server's end of its channel, kept apart from what the simulator prints and reads.

Knows file descriptors 0, 1 and 2. Never knows what travels over the channel. Python 3.6 and up.
"""

import binascii
import os
import socket
import struct
import sys

from gym_service import arena, channel


def open_socket(fd, shared=None, arena_follows=False):
    """The channel over an inherited, connected stream socket, with the arena that goes with it.

    ``arena_follows``: the other end hands it over with the first byte, which is waited for.
    """
    sock = _inherited(int(fd))
    if arena_follows:
        handed_over = _handed_over(sock)
        shared = None if handed_over is None else open_arena(handed_over)
    return channel.over_socket(sock, shared)


def open_arena(fd):
    """The arena whose memory is handed over by an inherited socket; None where this Python can map none."""
    return arena.over_socket(_inherited(fd))


def _inherited(fd):
    """A socket that was inherited. Children of the simulator do not inherit it."""
    os.set_inheritable(fd, False)
    if sys.version_info >= (3, 7):
        return socket.socket(fileno=fd)
    # Before 3.7 a socket made from a descriptor does not ask it for its family and takes AF_INET.
    sock = socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)
    os.close(fd)
    return sock


def _handed_over(sock):
    """The descriptor that comes with the next byte; None where the other end has gone, or gives none."""
    sock.setblocking(True)
    _, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(content) == 4:
            return struct.unpack("i", content)[0]
    return None


def open_stdio(mark, shared=None):
    """The channel over fd 0 and fd 1, or None where fd 0 is a terminal.

    Both are moved away at once. Then fd 1 is fd 2, so that prints, C's printf and chatty children cannot reach the
    channel, and fd 0 is /dev/null, so that input() cannot eat from it. The mark tells the client where the channel
    begins, after whatever a shell, ssh or a container said before.
    """
    if os.isatty(0):
        # A terminal turns a 0x03 in an observation into SIGINT, and a newline into two bytes.
        sys.stderr.write(
            "gym-service: standard input is a terminal, and a terminal changes the bytes that pass it. "
            "Leave out the option that asks for one: -t of ssh and docker run, --pty of srun.\n"
        )
        return None
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    os.write(write_fd, binascii.unhexlify(mark))
    return channel.over_pipes(read_fd, write_fd, shared)
