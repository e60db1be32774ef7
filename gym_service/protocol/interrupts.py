"""Tells exceptions of this package's own code from those that interrupt it, such as a signal handler's.

Knows tracebacks. Never knows what an exception means. Python 3.6 and up; runs on both sides.

A signal handler runs between any two bytecodes and may raise anything: a KeyboardInterrupt, but also the ValueError or
TimeoutError of a timeout decorator. Code that turns a ValueError into an error of this package must not catch such an
exception: it is the user's, and propagates unchanged.

Where foreign code is called, such as a value's ``__repr__``, both kinds of exceptions come out of foreign modules.
There the installed signal handlers tell them apart.
"""

import signal

# The modules that may raise an exception because of this package: it calls them with what a peer has sent.
OURS = frozenset(("gym_service", "numpy", "ssl", "socket", "select", "struct", "gymnasium", "gym"))
OURS |= frozenset(("enum", "types", "uuid", "fractions", "pathlib", "datetime", "_pydatetime", "_pydecimal"))


def is_foreign(error):
    """Whether a caught exception was raised by code that this package neither contains nor calls.

    The last entry of a traceback is where it was raised. C code has no entry of its own: its exceptions end in the
    frame that called it. An exception of a handler ends in the handler.
    """
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in OURS


def is_from_handler(error):
    """Whether an exception was raised by a signal handler, at any point of the code that it interrupted."""
    codes = [_code_of(signal.getsignal(number)) for number in range(1, signal.NSIG)]
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _code_of(handler):
    """The code object of a handler; None if it is not written in Python, or is an unusual kind of callable."""
    if not callable(handler):  # SIG_DFL and SIG_IGN, which are members of an Enum
        return None
    handler = getattr(handler, "func", handler)  # a partial
    handler = getattr(handler, "__func__", handler)  # a method
    return getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
