"""Watches the client of a guardian. No server may run without its client.

Knows pids and pidfds. Never knows servers. Standard library only, Python 3.6 and up: the guardian loads it by path.
"""

import os
import select
import time

if __package__:
    from gym_service_launcher.standalone.interrupts import raise_if_from_handler as _raise_if_from_handler
else:  # loaded by path: into a process of ours, where no handler of a user runs

    def _raise_if_from_handler(error):
        pass


class Client:
    """The client: the process whose servers a guardian guards.

    ``pidfd`` becomes readable when the client ends; -1 if the system has no pidfds. ``is_parent``: the client is the
    parent of this process, so a change of the parent's pid also shows that it has ended.
    """

    def __init__(self, pid, pidfd, is_parent):
        self.pidfd = pidfd
        self._pid = pid
        self._is_parent = is_parent

    @property
    def must_be_polled(self):
        """Whether the end of the client wakes no poll(), so that it must be checked repeatedly."""
        return self._is_parent and self.pidfd < 0

    def has_ended(self):
        """Whether the client is known to have ended. Does not block."""
        if self._is_parent and os.getppid() != self._pid:
            return True
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


def open_pidfd(pid):
    """A pidfd of a process; -1 if the system or this Python has none."""
    try:
        return getattr(os, "pidfd_open")(pid)  # noqa: B009 - new in Python 3.9
    except (AttributeError, OSError) as error:
        _raise_if_from_handler(error)
        return -1


def leave_parent(tell_fd):
    """Continue in a forked child. The parent writes a line to ``tell_fd``, ``pid N`` or ``errno N``, and exits.

    So this process is not a child of the process that started it, which need not wait for it.
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
        time.sleep(0.0002)
