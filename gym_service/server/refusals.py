"""What the server refuses by itself: the env cannot do what a call asks, or what it returned has no such form.

Knows which of Python's and Gymnasium's errors a refusal stands for. Never knows the wire, nor an env. Python 3.6 and
up.

A refusal is an answer like any error of the simulator's, but it is not reported as one: nothing was raised there.
"""

from gym_service.protocol.values import type_name

# The client's own class for an env that cannot do what is asked of it: see ``gym_service.errors``.
API_MISMATCH = "gym_service.ApiMismatch"


class Refused(Exception):
    """``type_name`` is the error that the refusal stands for, ``bases`` the names of its classes, nearest first."""

    def __init__(self, message, name, bases):
        super().__init__(message)
        self.type_name = name
        self.bases = bases


def api_mismatch(message):
    """The env does not speak the API that the call needs, or returned what no API of gym describes."""
    return Refused(message, API_MISMATCH, [API_MISMATCH])


def reset_needed(call):
    """A copy of an env that somebody else has reset and stepped."""
    text = "Cannot call env.%s() before calling env.reset(): this env is a copy, and its simulator is a new one"
    return Refused(text % call, "gymnasium.error.ResetNeeded", ["gymnasium.error.ResetNeeded"])


def cannot_unpack(error, where, result):
    """What Python or numpy said of a result that a vector env takes apart, as a SyncVectorEnv takes it apart."""
    name = type(error).__name__
    bases = [API_MISMATCH] if isinstance(error, (TypeError, ValueError)) else [name]
    return Refused("%s\n  %s returned %s" % (error, where, form_of(result)), name, bases)


def form_of(value):
    """The form of a result in a few words: its type, and of a tuple or a list the types inside."""
    name = type_name(value)
    if not isinstance(value, (tuple, list)):
        return "a value of type %s" % name
    return "a %s of %d: (%s)" % (name, len(value), ", ".join(type_name(part) for part in value[:8]))
