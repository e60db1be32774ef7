"""Tells an exception of a signal handler from the errors of the code that it interrupts.

Knows tracebacks and the installed signal handlers. Never knows what an exception means. Standard library only, Python
3.6 and up: ``procfs.py`` uses it in the user's process.

A signal handler runs between any two bytecodes and may raise anything, such as the TimeoutError of a timeout decorator.
That is an OSError. Code that ignores or explains an OSError of the system would swallow it, and the user would never
see the timeout. So every ``except`` for an OSError that runs in the user's process calls ``raise_if_from_handler``
first, and every ``suppress`` is the one of this module.

The rule: Python passes a handler the frame that it interrupts. So in the traceback the handler's frame follows a frame
that it has among its arguments, as called functions hardly ever have. (A trace function has it too; its exceptions are
not ours either.) A handler may have deleted its arguments, so the code of the installed handlers is compared as well. A
handler that is compiled to machine code is not recognised.

Rejected rules. *An error of the system has an errno*: the timeouts of sockets have none, and a handler may give one.
*The frame belongs to another package*: gevent and Sentry, for instance, wrap functions of the standard library, whose
errors then come from their frames. *The traceback goes on after the frame of the* ``try``: so it does wherever the
``try`` calls a Python function.
"""

import contextlib
import signal


def is_from_handler(error):
    """Whether a signal handler has raised a caught exception. To be called in the ``except`` that has caught it."""
    before = error.__traceback__
    while before is not None and before.tb_next is not None:
        frame = before.tb_next.tb_frame
        if _was_given(frame, before.tb_frame) or frame.f_code in _handler_codes():
            return True
        before = before.tb_next
    return False


def raise_if_from_handler(error):
    """Raise a caught exception again if a signal handler has raised it: it is the user's, and says nothing of ours."""
    if is_from_handler(error):
        raise error


class suppress(contextlib.suppress):  # noqa: N801 - it is named like the one of contextlib
    """Suppress exceptions as ``contextlib.suppress`` does, but for those of a signal handler."""

    def __exit__(self, kind, error, traceback):
        return bool(super().__exit__(kind, error, traceback)) and not is_from_handler(error)


def _was_given(frame, interrupted):
    """Whether a frame has another one among its arguments, also in ``*args``."""
    return any(
        value is interrupted or (type(value) is tuple and any(one is interrupted for one in value))
        for value in list(frame.f_locals.values())
    )


def _handler_codes():
    return [_code_of(signal.getsignal(number)) for number in range(1, signal.NSIG)]


def _code_of(handler):
    """The code object of a handler; None if it is not written in Python, or is an unusual kind of callable."""
    if not callable(handler):  # SIG_DFL and SIG_IGN, which are members of an Enum
        return None
    handler = getattr(handler, "func", handler)  # a partial
    handler = getattr(handler, "__func__", handler)  # a method
    return getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
