"""Writes to a peer that has ended, in a program in which SIGPIPE has its default action: without the program's end.

Python ignores SIGPIPE, so that such a write raises BrokenPipeError. Programs that print to a pipe often set the default
action back. Then a write to a server that has died would kill them without a word.

Knows signals. Never knows a stream. Python 3.6 and up; runs on both sides. POSIX only.
"""

import itertools
import signal
import socket

# The flag of send() and sendmsg() with which a socket raises no signal; for ``map``, without end.
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
NO_SIGNALS = itertools.repeat(NO_SIGNAL)

_SIGPIPE = {signal.SIGPIPE}


def is_fatal():
    """Whether SIGPIPE would end this process."""
    return signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL


def without(write, *arguments):
    """The result of ``write``, which may write to a pipe or to a socket of TLS, where no flag helps.

    This thread blocks SIGPIPE meanwhile. A signal that the write has raised is taken: it is for this thread alone.
    After an interrupt the mask of this thread is what it was.
    """
    if signal.SIGPIPE in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return write(*arguments)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGPIPE)
            return write(*arguments)
        finally:
            _unblock()
    except BaseException:
        _unblock()  # again, since an interrupt may have come before the end of the first
        raise


def _unblock():
    if signal.SIGPIPE in signal.sigpending():
        _take(_SIGPIPE)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGPIPE)


def _take_pending(signals):
    """Take one that is pending. Does not wait, even where another thread was faster."""
    signal.sigtimedwait(signals, 0)


_take = _take_pending if hasattr(signal, "sigtimedwait") else signal.sigwait  # macOS has only the latter
