"""Memory handed to the other side: its descriptor and its size, through a Unix socket beside the stream.

Knows sockets that carry descriptors. Never knows what the memory is for. Python 3.6 and up; runs on both sides.

Each message has the number of what it hands over, counted from 0. Nothing here blocks: a message is sent before the
frame that speaks of it. All of it can be repeated after an interrupt; no descriptor is lost, and none is closed twice.
"""

import struct

from gym_service.protocol.values import BadValue
from gym_service.transport import fd_passing
from gym_service.transport.streams import close_all

_MESSAGE = struct.Struct("<QQ")  # number, size in bytes; beside it the descriptor


class Handover:
    """One end of the socket, which it owns."""

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
        # As in streams.py: whatever interrupts this, what was sent is counted.
        self.sent += map(self._socket.sendmsg, (message,), (fd_passing.beside(fd),))

    def receive(self, take):
        """Deal with the next message: ``take(number, size_bytes, fds)``; then the descriptors are closed.

        With too many files open the kernel drops the descriptor, and ``fds`` is empty.

        Raises BadValue where there is no message, or it is none.
        """
        number, messages = self.received, self._messages
        if len(messages) == number:
            try:
                messages += map(self._socket.recvmsg, (_MESSAGE.size,), (fd_passing.SPACE_BYTES,))
            except BlockingIOError as error:
                if error.__traceback__.tb_next is not None:
                    raise  # by a handler: see streams.py
                raise BadValue("memory %d was announced and was not handed over" % number) from error
        if messages[number] is not None:
            if len(messages[number]) == 4:  # as it came; from here on the descriptors are in the list alone
                self._fds[:] = fd_passing.descriptors_in(messages[number][1])
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
