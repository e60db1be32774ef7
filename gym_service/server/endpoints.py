"""The server's end of its channel, separate from what the simulator prints and reads.

Knows file descriptors 0, 1 and 2. Never knows what travels over the channel. Python 3.6 and up.
"""

import binascii
import os
import re
import socket
import struct
import sys

from gym_service.protocol.frames import BadFrame
from gym_service.transport import arena, channel, fd_passing

PREAMBLE_S = 30.0  # clients send the preamble together with the end of the handshake
CONNECT_BACK_S = 1.0  # a client on this machine accepts at once


def open_socket(fd, shared=None, preamble_form=""):
    """The channel over an inherited, connected stream socket, with its arena.

    ``preamble_form``: the value of ``--negotiate-arena``. With it, this blocks until the client has sent its preamble.
    """
    sock = _inherited(int(fd))
    if preamble_form:
        size, _, name = preamble_form.partition(":")
        shared = _negotiate_arena(sock, int(size), name)
    return channel.over_socket(sock, shared, yields_cpu=True)


def open_arena(fd):
    """The arena whose memory arrives on an inherited socket; None where this Python cannot map memory."""
    return arena.over_socket(_inherited(fd))


def _inherited(fd):
    """A socket object for an inherited descriptor, with close-on-exec, so that the simulator's children lack it."""
    os.set_inheritable(fd, False)
    if sys.version_info >= (3, 7):
        return socket.socket(fileno=fd)
    # Before Python 3.7 a socket made from a descriptor does not ask the kernel for its family and assumes AF_INET.
    sock = socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)
    os.close(fd)
    return sock


def _negotiate_arena(sock, size_bytes, name):
    """Receive the client's preamble and send it back. Returns the arena that the client offers, or None.

    The launcher's ``same_host.py`` explains why. A preamble of ``size_bytes`` offers memory in one of two ways: a
    socket is passed beside it, or the client listens at the abstract socket ``name`` + the preamble itself.
    """
    sock.settimeout(PREAMBLE_S)
    preamble, fds = b"", []
    while len(preamble) < size_bytes:
        try:
            data, more = fd_passing.receive(sock, size_bytes - len(preamble))
        except socket.timeout:
            raise BadFrame("a client sent nothing for %g s" % PREAMBLE_S) from None
        except OSError:
            return None  # the client has disconnected; the loop notices that next
        fds += more
        if not data:
            return None
        preamble += data
        if not re.fullmatch(b"[0-9a-f-]+", preamble):
            raise BadFrame("the first bytes, %r, are not those of a gym-service client" % preamble)
    for fd in fds[1:]:  # a gym-service client sends only one
        os.close(fd)
    shared = open_arena(fds[0]) if fds else _connect_back(name.encode("ascii"), preamble)
    try:
        sock.sendall(preamble)
    except OSError:
        pass
    return shared


def _connect_back(name, preamble):
    """The arena over a connection to the client's abstract socket; None if no process of this user listens there."""
    if b"-" in preamble:
        return None
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(CONNECT_BACK_S)
        sock.connect(b"\0" + name + preamble)
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    except OSError:
        uid = None
    if uid != os.geteuid():
        sock.close()
        return None
    return arena.over_socket(sock)


def open_stdio(mark, shared=None):
    """The channel over fd 0 and fd 1, or None where fd 0 is a terminal.

    Both descriptors are moved away at once. Afterwards fd 1 is fd 2, so that prints, C's printf and child processes
    cannot write into the channel, and fd 0 is /dev/null, so that input() cannot read from it. The mark tells the client
    where the channel begins: a shell, ssh or a container may print something before it.
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
