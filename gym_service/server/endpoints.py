"""The server's end of its channel, kept apart from what the simulator prints and reads.

Knows file descriptors 0, 1 and 2. Never knows what travels over the channel. Python 3.6 and up.
"""

import array
import binascii
import os
import re
import socket
import struct
import sys

from gym_service.protocol.frames import BadFrame
from gym_service.transport import arena, channel

PREAMBLE_BYTES = 32  # as the launcher's same_host.py has it
PREAMBLE_S = 30.0  # honest clients say it with the last words of the handshake
CONNECT_BACK_S = 1.0  # who is on this machine answers at once


def open_socket(fd, shared=None, negotiate_arena=False):
    """The channel over an inherited, connected stream socket, with the arena that goes with it.

    ``negotiate_arena``: the other end says first where it is; blocks until it has.
    """
    sock = _inherited(int(fd))
    if negotiate_arena:
        shared = _negotiate_arena(sock)
    return channel.over_socket(sock, shared, yields_cpu=True)


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


def _negotiate_arena(sock):
    """The arena that the client's preamble names; sends the preamble back. The launcher's ``same_host.py`` says why."""
    sock.settimeout(PREAMBLE_S)
    preamble, fds = b"", array.array("i")
    while len(preamble) < PREAMBLE_BYTES:
        try:
            data, ancillary, _, _ = sock.recvmsg(PREAMBLE_BYTES - len(preamble), socket.CMSG_SPACE(fds.itemsize))
        except socket.timeout:
            raise BadFrame("a client said nothing for %g s" % PREAMBLE_S) from None
        except OSError:
            return None  # it has gone, as the loop will see
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[: len(content) // fds.itemsize * fds.itemsize])
        if not data:
            return None
        preamble += data
        if not re.fullmatch(b"[0-9a-f-]+", preamble):
            raise BadFrame("bytes that start with %r are not the beginning of a client's" % preamble)
    for fd in fds[1:]:  # none of ours: the room that is made for one may hold two
        os.close(fd)
    shared = open_arena(fds[0]) if fds else _connect_back(preamble)
    try:
        sock.sendall(preamble)
    except OSError:
        pass
    return shared


def _connect_back(preamble):
    """The arena at the end of a connection to the socket of that name; None where none of this user has it here."""
    if b"-" in preamble:
        return None
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(CONNECT_BACK_S)
        sock.connect(b"\0gym-service-" + preamble)
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    except OSError:
        uid = None
    if uid != os.geteuid():
        sock.close()
        return None
    return arena.over_socket(sock)


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
    return channel.over_pipes(read_fd, write_fd, shared, yields_cpu=True)
