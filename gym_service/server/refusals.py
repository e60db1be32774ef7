"""Errors of the server itself: the env cannot do what a call asks, or returned a value of an unknown form.

Knows which of Python's and Gymnasium's errors a refusal stands for. Never knows the wire or an env. Python 3.6 and up.

The client receives a refusal like an error of the simulator. The server does not log it as one, since the simulator
raised nothing.
"""

from gym_service.protocol.values import type_name

# The client's own class for an env that cannot do what a call asks: see ``gym_service.errors``.
API_MISMATCH = "gym_service.ApiMismatch"


class Refused(Exception):
    """``type_name`` is the error that the refusal stands for, ``bases`` the names of its classes, nearest first."""

    def __init__(self, message, name, bases):
        super().__init__(message)
        self.type_name = name
        self.bases = bases


def api_mismatch(message):
    """The env lacks the API that the call needs, or returned a value that no gym API describes."""
    return Refused(message, API_MISMATCH, [API_MISMATCH])


def reset_needed(call):
    """The call needs a reset first: the env is a copy or was restarted, so its simulator is new."""
    text = "Cannot call env.%s() before calling env.reset(): this env is a copy or was restarted, and its simulator is"
    text += " a new one\n  try: reset() first"
    return Refused(text % call, "gymnasium.error.ResetNeeded", ["gymnasium.error.ResetNeeded"])


def cannot_unpack(error, where, result):
    """The error of Python or numpy for a result that a vector env unpacks as SyncVectorEnv does."""
    name = type(error).__name__
    bases = [API_MISMATCH] if isinstance(error, (TypeError, ValueError)) else [name]
    return Refused("%s\n  %s returned %s" % (error, where, form_of(result)), name, bases)


def form_of(value):
    """The form of a result in a few words: its type and, for a tuple or list, the types of its items."""
    name = type_name(value)
    if not isinstance(value, (tuple, list)):
        return "a value of type %s" % name
    return "a %s of %d: (%s)" % (name, len(value), ", ".join(type_name(part) for part in value[:8]))
