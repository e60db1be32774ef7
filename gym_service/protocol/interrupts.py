"""Whose exception it is: one of this package's own code, or one that has come in the middle of it from elsewhere.

Knows tracebacks. Never knows what an exception means. Python 3.6 and up; runs on both sides.

The handler of a signal runs between two bytecodes of whatever runs, and may raise anything: a KeyboardInterrupt, but
also the ValueError or the TimeoutError of a timeout decorator. Code that turns a ValueError into an error of its own
must leave such a one alone: it is the user's, and goes up as it is.

Where foreign code is called, such as the ``__repr__`` of a value, both kinds come out of foreign modules. There the
functions that are installed as handlers tell them apart.
"""

import signal

# The modules in which an exception may start that this package has caused: it calls them with what a peer has sent.
OURS = frozenset(("gym_service", "numpy", "ssl", "socket", "select", "struct", "gymnasium", "gym"))
OURS |= frozenset(("enum", "types", "uuid", "fractions", "pathlib", "datetime", "_pydatetime", "_pydecimal"))


def is_foreign(error):
    """Whether an exception that was caught was raised by code that is not this package's, nor called by it.

    The last entry of a traceback is where it was raised. C code has no entry of its own: what it raises ends in the
    frame that has called it. What a handler raises ends in the handler.
    """
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in OURS


def is_from_handler(error):
    """Whether an exception was raised by the handler of a signal, in the middle of whatever code."""
    codes = [_code_of(signal.getsignal(number)) for number in range(1, signal.NSIG)]
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _code_of(handler):
    """The code that a handler runs; None where it is not written in Python, or is an unusual kind of callable."""
    handler = getattr(handler, "func", handler)  # of a partial
    handler = getattr(handler, "__func__", handler)  # of a method
    return getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
