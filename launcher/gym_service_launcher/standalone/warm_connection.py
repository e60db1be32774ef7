"""What a warm guardian and its clients send each other: frames with descriptors.

Knows bytes and descriptors. Never knows what a request is for. Standard library only, Python 3.6 and up:
warm_guardian.py loads it by path.

A message is a header (``FRAME``: a kind, the number of its descriptors, the size of its text in bytes) and the text.
The guardian reads only what has come, so a client that stops in the middle of a message holds up nobody.
"""

import collections
import errno
import importlib.util
import os
import socket
import struct

if __package__:
    from gym_service_launcher.standalone import fd_passing
else:

    def _load_sibling(name):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location("gym_service_" + name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    fd_passing = _load_sibling("fd_passing")

FRAME = struct.Struct("<cBI")
ASK, ORDER, REQUEST = b"a", b"o", b"r"
# As many as a request of guardian.py has at most.
MAX_FDS = 16
# A request has a command line and variables. Linux allows less for both.
MOST_BYTES = 16 << 20
READ_BYTES = 65536
# struct ucred of Linux: pid, uid, gid.
CREDENTIALS = struct.Struct("3i")


def send(sock, kind, fds, text):
    """Send a message. Blocks as long as the socket does. Raises OSError if the peer has closed it."""
    data = FRAME.pack(kind, len(fds), len(text)) + text
    if fds:
        fd_passing.send(sock, data, fds)
    else:
        sock.sendall(data)


class Connection:
    """The guardian's end: one client, and what it has sent so far."""

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.pidfd = -1  # of the client, once it has sent it
        self.is_open = True
        self.asks = False  # whether it waits for an answer
        self._data = b""
        self._fds = collections.deque()

    def is_of_this_user(self):
        found = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return CREDENTIALS.unpack(found)[1] == os.geteuid()

    def receive(self):
        """The messages that are complete: (kind, descriptors, text). Does not block.

        Raises OSError if the client has closed the connection or breaks the rules.
        """
        data, fds, is_cut = fd_passing.receive(self.sock, READ_BYTES, MAX_FDS)
        self._fds.extend(fds)
        if not data or is_cut:
            raise OSError(errno.EPIPE, "it was closed, or descriptors were lost")
        self._data += data
        messages = []
        while len(self._data) >= FRAME.size:
            kind, count, size = FRAME.unpack_from(self._data)
            if kind not in (ASK, ORDER, REQUEST) or size > MOST_BYTES or count > len(self._fds):
                raise OSError(errno.EPROTO, "this is no message")
            if len(self._data) < FRAME.size + size:
                break
            text, self._data = self._data[FRAME.size : FRAME.size + size], self._data[FRAME.size + size :]
            messages.append((kind, [self._fds.popleft() for _ in range(count)], text))
        return messages

    def say(self, line):
        try:
            self.sock.send(line.encode("utf-8", "backslashreplace") + b"\n", socket.MSG_DONTWAIT)
        except OSError:
            pass  # the end of the connection is noticed when it is read

    def close(self):
        self.is_open = self.asks = False
        self.sock.close()
        while self._fds:
            os.close(self._fds.popleft())
