"""Passes file descriptors over Unix sockets. No other module of ``gym_service`` does.

Knows SCM_RIGHTS, and messages that hand over memory: its descriptor, size and number. Never knows what the memory is
for. Python 3.6 and up; runs on both sides. The launcher has its own copy, ``standalone/fd_passing.py``, because either
package also runs where it cannot import the other.
"""

import os
import socket
import struct

from gym_service.protocol.values import BadValue
from gym_service.transport.sigpipe import NO_SIGNALS
from gym_service.transport.streams import close_all

IS_SUPPORTED = hasattr(socket, "SCM_RIGHTS")
FD_BYTES = struct.calcsize("i")
SPACE_BYTES = socket.CMSG_SPACE(FD_BYTES) if IS_SUPPORTED else 0
# A message that hands memory over: its number and its size in bytes. The descriptor travels beside it.
_MESSAGE = struct.Struct("<QQ")


def receive(sock, size_bytes):
    """(data, descriptors) of one message, of ``size_bytes`` at most. Raises OSError."""
    data, ancillary, _, _ = sock.recvmsg(size_bytes, SPACE_BYTES)
    return data, _descriptors_in(ancillary)


def _descriptors_in(ancillary):
    """The descriptors of a message, from the ancillary data that ``recvmsg`` returned with room for SPACE_BYTES.

    The caller closes them. The list can be empty although one was sent: with too many files open the kernel drops it.
    It can hold two if the sender sent more than one: the room for one descriptor also fits two.
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
    """One end of a Unix socket that hands memory over. It owns the socket.

    The messages are numbered from 0. Nothing here blocks: a message is sent before the frame that announces it. Every
    method can be repeated after an interrupt. No descriptor is lost, and none is closed twice.
    """

    def __init__(self, sock):
        sock.setblocking(False)
        self._socket = sock
        self.sent = []  # one item per message: the number of bytes that the kernel accepted
        self.received = 0  # how many messages of the other side are processed
        self._messages = []  # all messages so far; None for each that is processed
        self._fds = []  # the descriptors of the message that is being processed

    def send(self, fd, size_bytes):
        """Hand memory over, with the number ``len(sent)``. Raises OSError."""
        message = [_MESSAGE.pack(len(self.sent), size_bytes)]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        # As in streams.py: a message that was sent is counted, also if an interrupt comes right after it.
        self.sent += map(self._socket.sendmsg, (message,), (rights,), NO_SIGNALS)

    def receive(self, take):
        """Process the next message: call ``take(number, size_bytes, fds)``, then close the descriptors.

        With too many files open the kernel drops the descriptor, and ``fds`` is empty.

        Raises BadValue if there is no message or it is malformed.
        """
        number, messages = self.received, self._messages
        if len(messages) == number:
            try:
                messages += map(self._socket.recvmsg, (_MESSAGE.size,), (SPACE_BYTES,))
            except OSError as error:  # there is nothing, or the socket was closed here, or by a fork
                if error.__traceback__.tb_next is not None:
                    raise  # raised by a signal handler: see streams.py
                raise BadValue("memory %d was announced but not handed over" % number) from error
        if messages[number] is not None:
            if len(messages[number]) == 4:  # as recvmsg returned it; from here on only self._fds holds the descriptors
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
        """Close the socket, and the descriptors of unprocessed messages."""
        self._socket.close()
        close_all(self._fds)
