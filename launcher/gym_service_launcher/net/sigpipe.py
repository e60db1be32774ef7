"""Writes to a peer that has ended, in a program that has set SIGPIPE's default action back: without the program's end.

Knows signals. Never knows a stream. Python 3.10 and up.
"""

import signal
import sys
from collections.abc import Callable
from typing import Any


def without(write: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``write``, for a pipe or a socket of TLS, where no flag prevents the signal.

    Blocks and raises as ``write``. After an interrupt the mask of this thread is what it was.
    """
    if signal.getsignal(signal.SIGPIPE) != signal.SIG_DFL:
        return write(*arguments)
    if signal.SIGPIPE in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return write(*arguments)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
            return write(*arguments)
        finally:
            _unblock()
    except BaseException:
        _unblock()  # again, since an interrupt may have come before the end of the first
        raise


def _unblock() -> None:
    """Take the signal that the write has raised, and let later ones through."""
    if sys.platform == "linux":
        signal.sigtimedwait({signal.SIGPIPE}, 0)
    elif signal.SIGPIPE in signal.sigpending():
        signal.sigwait({signal.SIGPIPE})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
