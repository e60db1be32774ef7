"""Passes file descriptors over Unix sockets: the only place of the two halves that does.

Knows SCM_RIGHTS, and messages that hand over memory: its descriptor, its size and its number. Never knows what the
memory is for. Python 3.6 and up; runs on both sides. The launcher has one of its own, ``standalone/fd_passing.py``:
neither package can import the other where it runs alone.
"""

import os
import socket
import struct

from gym_service.protocol.values import BadValue
from gym_service.transport.streams import close_all

IS_SUPPORTED = hasattr(socket, "SCM_RIGHTS")
FD_BYTES = struct.calcsize("i")
SPACE_BYTES = socket.CMSG_SPACE(FD_BYTES) if IS_SUPPORTED else 0
# What hands memory over: its number, its size in bytes; beside it the descriptor.
_MESSAGE = struct.Struct("<QQ")


def receive(sock, size_bytes):
    """(data, descriptors): what one message holds, of ``size_bytes`` at most. Raises OSError."""
    data, ancillary, _, _ = sock.recvmsg(size_bytes, SPACE_BYTES)
    return data, _descriptors_in(ancillary)


def _descriptors_in(ancillary):
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


class Handover:
    """One end of a Unix socket through which memory is handed over. It owns the socket.

    The messages are numbered from 0. Nothing here blocks: a message is sent before the frame that announces it. Every
    method can be repeated after an interrupt. No descriptor is lost, and none is closed twice.
    """

    def __init__(self, sock):
        sock.setblocking(False)
        self._socket = sock
        self.sent = []  # one item for each message: what the kernel took of it
        self.received = 0  # how many messages of the other side have been dealt with
        self._messages = []  # all that have come; None once it has been dealt with
        self._fds = []  # of the one that is being dealt with

    def send(self, fd, size_bytes):
        """Hand memory over, with the number ``len(sent)``. Raises OSError."""
        message = [_MESSAGE.pack(len(self.sent), size_bytes)]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        # As in streams.py: whatever interrupts this, what was sent is counted.
        self.sent += map(self._socket.sendmsg, (message,), (rights,))

    def receive(self, take):
        """Deal with the next message: ``take(number, size_bytes, fds)``; then the descriptors are closed.

        With too many files open the kernel drops the descriptor, and ``fds`` is empty.

        Raises BadValue where there is no message, or it is none.
        """
        number, messages = self.received, self._messages
        if len(messages) == number:
            try:
                messages += map(self._socket.recvmsg, (_MESSAGE.size,), (SPACE_BYTES,))
            except BlockingIOError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # by a handler: see streams.py
                raise BadValue("memory %d was announced and was not handed over" % number) from error
        if messages[number] is not None:
            if len(messages[number]) == 4:  # as it came; from here on the descriptors are in the list alone
                self._fds[:] = _descriptors_in(messages[number][1])
                messages[number] = messages[number][:1]
            (data,) = messages[number]
            if len(data) != _MESSAGE.size or _MESSAGE.unpack(data)[0] != number:
                raise BadValue("%d bytes do not announce memory %d" % (len(data), number))
            take(number, _MESSAGE.unpack(data)[1], self._fds)
            close_all(self._fds)
            messages[number] = None
        self.received = number + 1

    def close(self):
        """Close the socket, and what has come and was not dealt with."""
        self._socket.close()
        close_all(self._fds)
