"""A lock that is waited for with a limit, and that no interrupt leaves locked.

Knows locks, and that a signal handler may raise. Never knows what a lock protects. Python 3.10 and up.

A ``with`` statement on a lock is safe, but has no limit. ``if lock.acquire(timeout=1): try: ... finally: ...`` is not
safe: a signal handler may raise after the lock was acquired and before the ``try``. Nobody would release the lock, and
every other thread would wait for ever.
"""

from collections.abc import Callable
from threading import TIMEOUT_MAX
from typing import Protocol


class Lock(Protocol):
    """A lock of ``threading``: its classes have no public names that are types."""

    def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool: ...

    def release(self) -> None: ...


def while_held(lock: Lock, timeout_s: float, act: Callable[[], bool]) -> bool:
    """What ``act()`` returns while this thread holds the lock. False if another thread holds it for ``timeout_s``."""
    acquired: list[bool] = []
    try:
        # One C function acquires the lock and records that: see the module ``streams`` of the server half.
        acquired += map(lock.acquire, (True,), (min(timeout_s, TIMEOUT_MAX),))
        return acquired[0] and act()
    finally:
        if acquired and acquired[0]:
            lock.release()
