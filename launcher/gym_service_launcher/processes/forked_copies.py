"""What a forked child of this process closes at once: its copies of what belongs to its parent.

A signal handler may fork while an env is made, and the child come back to that. It must neither read nor write what is
its parent's. Knows forks. Never knows what it closes. Python 3.10 and up.
"""

import contextlib
import errno
import os
import weakref
from typing import Protocol

from gym_service_launcher.standalone import interrupts


class Descriptors(list[int]):
    """Descriptors that are owned by who takes them out of the list. Until then, ``close`` closes them."""

    # By identity: ``close_in_child`` keeps it in a set.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]  # a list's is None

    def close(self) -> None:
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                os.close(self.pop())


class Copied(Protocol):
    """A socket, or another object that owns descriptors."""

    def close(self) -> None: ...


_ours: "weakref.WeakSet[Copied]" = weakref.WeakSet()


def close_in_child(one: Copied) -> None:
    """Have a forked child of this process close its copy, as long as the object lives."""
    _ours.add(one)


def refuse_child(process_id: int) -> None:
    """Raise OSError where this is a forked child of that process.

    To be called once something is known to ``close_in_child``: a fork in the lines before may have left a copy open.
    """
    if process_id != os.getpid():
        raise OSError(errno.EOWNERDEAD, f"process {process_id} was forked while it made an env, and this is its child")


def _forget() -> None:
    for one in list(_ours):
        with interrupts.suppress(OSError):  # it was being closed
            one.close()


os.register_at_fork(after_in_child=_forget)
