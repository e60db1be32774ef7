"""The server's end of ``gym-service view``: learns that somebody looks, and sends what there is to see.

Knows a page of memory, a Unix socket and when a picture is due. Never knows a simulator: ``viewed_env.py`` does. Python
3.6 and up.

Theory of operation. The record of this server (the launcher's ``processes/pidfiles.py``) is a file of one page, which
this process maps at its start. Five numbers of it belong to the viewer. The first of them is 0 while nobody looks. The
loop reads it after each answer, which costs no system call and no Python frame. A viewer, a process of the same user,
sets it, says until when it holds and renews it. Then the loop calls ``after_call``. If a picture is due, this renders
one and sends a datagram to the viewer's socket. Pictures are too large for a datagram: they are in anonymous memory,
whose descriptor travels with the first one.

Nothing here waits for the viewer. If its socket is full, the datagram is dropped. If it has gone, or its time is over,
the number becomes 0 again. A render takes place after the answer was sent, so the next call waits for one render at
most. A slow render is called less often: rendering takes a quarter of the time at most.

What must change together: the page and the datagrams with ``gym_service/viewer/observed.py``; the page with
``processes/pidfiles.py``; the names of the adapter's methods with ``viewed_env.py``.
"""

import json
import mmap
import os
import socket
import stat
import struct
import sys
import time

from gym_service.transport import shared_memory
from gym_service.transport.streams import close_all

# The numbers of the page: not 0 while somebody looks; until when, in nanoseconds of the monotonic clock; pictures per
# 1,000 s at most; of how many envs of a batch; and the version of this module's side, so that a viewer knows that there
# is one.
WANTED, UNTIL_NS, PER_1000_S, COUNT, VERSION = range(5)
WORD_BYTES = 8
THIS_VERSION = 1
# In place of the page where no viewer can ever look.
NOBODY = (0,)
# Rendering takes one part in this many of the time at most.
RENDER_SHARE = 4
# The memory has a few places, so that the viewer can still read one while the next is written.
PLACES = 3
HEADER_BYTES = 64
SOCKET_SUFFIX = ".view"
# The size of sun_path without its NUL, on every system.
LONGEST_PATH_BYTES = 103


def open_link(place):
    """The link of a server whose record is at ``place``, OFFSET:PATH; None if it cannot be mapped safely.

    Only on Linux: elsewhere there is no record, since its writer reads /proc.
    """
    if not sys.platform.startswith("linux"):
        return None
    offset, _, path = place.partition(":")
    try:
        return ViewerLink(path, int(offset))
    except (OSError, ValueError):
        return None


class ViewerLink:
    """``words[WANTED]`` is not 0 while somebody looks. Then ``after_call`` must follow each answer."""

    def __init__(self, path, offset):
        """Map the record. Raises OSError, also if it is not a private file of this user."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise OSError("%s is not a private file of this user" % path)
            # Its client does the same. Otherwise a write to the memory could fail later, on a full disk.
            os.posix_fallocate(fd, 0, mmap.PAGESIZE)
            self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        end = offset + (VERSION + 1) * WORD_BYTES
        self.words = memoryview(self._memory)[offset:end].cast("Q")
        self.words[VERSION] = THIS_VERSION
        self._socket_path = os.path.splitext(path)[0] + SOCKET_SUFFIX
        self._look = self._render = None

    def after_call(self, adapter, counters):
        """Show the viewer what is due, after an answer. Returns once that is sent or dropped; never raises an error.

        ``adapter`` is None where no env is made yet, or it is closed.
        """
        try:
            if self._render is not None and self._render.adapter is not adapter:
                self._leave()
                self._render.close()
                self._render = None
            if time.monotonic() * 1e9 > self.words[UNTIL_NS]:
                self._end()
            elif adapter is not None:
                self._show(adapter, counters)
        except Exception:  # noqa: BLE001 - the border: what a viewer meets must never become an error of the trainer
            self._end()

    def _show(self, adapter, counters):
        if self._render is None:
            from gym_service.server.unnoticed_render import UnnoticedRender  # most servers never need it

            self._render = UnnoticedRender(adapter)
        if self._look is None:
            self._look = Look(adapter, self._render, self._socket_path)
        self._look.after_call(self.words[PER_1000_S] / 1000.0, self.words[COUNT], counters)

    def _end(self):
        self.words[WANTED] = 0
        self._leave()

    def _leave(self):
        look, self._look = self._look, None
        if look is not None:
            look.close()


class Look:
    """From the time that somebody begins to look until the last viewer has left."""

    def __init__(self, adapter, render, socket_path):
        """Connect to the viewer. Raises OSError if there is none."""
        from gym_service.server.viewed_env import ViewedEnv

        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            connect(self._socket, socket_path)
        except BaseException:
            self._socket.close()
            raise
        self._memory = None
        self._number = 0
        self._due = 0.0
        self._env = ViewedEnv(adapter, render)

    def after_call(self, fps, count, counters):
        """Render and send if it is time. Raises OSError if the viewer has gone."""
        began = time.monotonic()
        if began >= self._due:
            view = self._env.view(max(1, count), counters)
            arrays = view.pop("arrays")
            took_s = time.monotonic() - began
            self._due = began + max(1.0 / max(fps, 0.001), RENDER_SHARE * took_s)
            self._send(dict(view, render_s=took_s), arrays)
        self._env.forget_values()

    def close(self):
        """Leave the env as it was. Nothing more is sent."""
        self._env.detach()
        self._socket.close()
        if self._memory is not None:
            self._memory.close_fd()

    def _send(self, view, arrays):
        self._number += 1
        fds = []
        if arrays:
            size_bytes = sum(array.nbytes + HEADER_BYTES for array in arrays)
            if self._memory is None or size_bytes > self._memory.place_bytes:
                if self._memory is not None:
                    self._memory.close_fd()
                self._memory = FrameMemory(size_bytes)
            view["place"], view["arrays"] = self._memory.write(self._number, arrays)
            fds = self._memory.unsent_fds
        text = json.dumps(dict(view, number=self._number, has_memory=bool(fds)), ensure_ascii=False)
        # As UTF-8 the longest text fits a datagram. The escape of a lone surrogate is the one of JSON.
        data = text.encode("utf-8", "backslashreplace")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd)) for fd in fds]
        try:
            # Without MSG_NOSIGNAL a simulator that has set SIGPIPE back would be killed.
            self._socket.sendmsg([data], rights, getattr(socket, "MSG_NOSIGNAL", 0))
        except BlockingIOError:  # the viewer is busy: it gets a later one
            return
        self._env.has_been_sent()
        if fds:
            self._memory.close_fd()


class FrameMemory:
    """Anonymous memory with PLACES places for pictures. A place begins with the number of what was last written."""

    def __init__(self, place_bytes):
        """Raises OSError if there is no memory for it."""
        self.place_bytes = -(-(place_bytes + HEADER_BYTES) // HEADER_BYTES) * HEADER_BYTES
        self.unsent_fds = []
        try:
            shared_memory.create(PLACES * self.place_bytes, self.unsent_fds)
            self._memory = mmap.mmap(self.unsent_fds[0], PLACES * self.place_bytes)
        except BaseException:
            self.close_fd()
            raise

    def write(self, number, arrays):
        """Write the pictures. Returns where: the offset of the place, and for each (offset, shape, dtype)."""
        import numpy as np

        start = number % PLACES * self.place_bytes
        header = memoryview(self._memory)[start : start + WORD_BYTES].cast("Q")
        header[0] = 0
        at, written = start + HEADER_BYTES, []
        for array in arrays:
            np.copyto(np.ndarray(array.shape, array.dtype, self._memory, at), array)
            written.append((at, array.shape, array.dtype.str))
            at += -(-array.nbytes // HEADER_BYTES) * HEADER_BYTES
        header[0] = number
        return start, written

    def close_fd(self):
        """Close the descriptor, once the viewer has it. The memory stays."""
        close_all(self.unsent_fds)


def connect(sock, path):
    """Connect to a Unix socket, also where the path is too long for an address. Raises OSError."""
    if len(os.fsencode(path)) <= LONGEST_PATH_BYTES:
        sock.connect(path)
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect("/proc/self/fd/%d/%s" % (folder, os.path.basename(path)))
    finally:
        os.close(folder)
