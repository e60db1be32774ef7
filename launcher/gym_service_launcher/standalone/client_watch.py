"""The client of a guardian: the process without which no server may run.

Knows pids and pidfds. Never knows servers. Standard library only, Python 3.6 and up: the guardian loads it by path.
"""

import os
import select
import time


class Client:
    """The process whose servers a guardian guards.

    ``pidfd`` becomes readable when it ends; -1 where the system has no such thing. ``is_parent``: this process is its
    child, so a change of the parent's pid tells of its end too.
    """

    def __init__(self, pid, pidfd, is_parent):
        self.pidfd = pidfd
        self._pid = pid
        self._is_parent = is_parent

    @property
    def must_be_polled(self):
        """Whether nothing wakes poll() when it ends."""
        return self._is_parent and self.pidfd < 0

    def has_ended(self):
        """Whether it is known to have ended. Does not block."""
        if self._is_parent and os.getppid() != self._pid:
            return True
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


def open_pidfd(pid):
    """A pidfd of a process; -1 where the system or this Python has none."""
    try:
        return getattr(os, "pidfd_open")(pid)  # noqa: B009 - new in Python 3.9
    except (AttributeError, OSError):
        return -1


def leave_parent(tell_fd):
    """Go on in a forked child. The parent writes a line to ``tell_fd``, ``pid N`` or ``errno N``, and ends.

    So this process is no child of the one that started it, which does not have to wait for it.
    """
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        os.write(tell_fd, b"errno %d\n" % error.errno)
        os._exit(1)
    if pid:
        os.write(tell_fd, b"pid %d\n" % pid)
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)
