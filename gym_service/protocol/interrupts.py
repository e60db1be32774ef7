"""Whose exception it is: one of this package's own code, or one that has come in the middle of it from elsewhere.

Knows tracebacks. Never knows what an exception means. Python 3.6 and up; runs on both sides.

The handler of a signal runs between two bytecodes of whatever runs, and may raise anything: a KeyboardInterrupt, but
also the ValueError or the TimeoutError of a timeout decorator. Code that turns a ValueError into an error of its own
must leave such a one alone: it is the user's, and goes up as it is.
"""

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
