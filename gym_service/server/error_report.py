"""An exception as plain data: type, message, traceback, and the known error classes that it derives from.

Knows exceptions. Never knows which call raised one. Python 3.6 and up. The client never rebuilds a remote class. It
raises its own error that *also* derives from the nearest of Python's or Gymnasium's classes, so their names are sent.
"""

import traceback

from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.space_spec import CannotDescribe
from gym_service.protocol.values import BadValue, CannotEncode, class_name, module_name
from gym_service.server.refusals import Refused

TEXT_CHARS = 65536
_NOT_SHOWN = ("gym_service", "importlib")
_KNOWN_MODULES = ("builtins", "gymnasium.error", "gym.error")


def describe_error(error, context="", notes=""):
    """The fields of an ERROR: origin, type name, message, traceback, names of known bases (nearest first).

    ``context`` says which of several envs raised it. It stands before the traceback, so the message stays the
    simulator's. ``notes`` stand after the traceback: settings of the server that may be related to the error.
    """
    if isinstance(error, (CannotEncode, CannotDescribe)):
        fields = messages.CANNOT_CROSS, error.type_name, str(error), error.path, []
    elif isinstance(error, Refused):
        fields = messages.REFUSED, error.type_name, str(error), context, error.bases
    elif isinstance(error, (BadFrame, BadValue, messages.Illegal)):
        fields = messages.ILLEGAL, type(error).__name__, str(error), "", []
    else:
        evidence = context + _traceback(error) + notes
        fields = messages.FROM_ENV, class_name(type(error)), _message(error), evidence, _known_bases(error)
    encoder = Encoder()
    for field in fields:
        encoder.add(field)
    return encoder


def builtin_name(cls):
    """The name of the nearest built-in class among a class and its bases."""
    return next(base.__name__ for base in cls.__mro__ if module_name(base) == "builtins")


def _known_bases(error):
    known = [cls for cls in type(error).__mro__ if module_name(cls) in _KNOWN_MODULES and cls is not object]
    return [class_name(cls) for cls in known]


def _message(error):
    try:
        return _bounded(str(error))
    except Exception as second:  # noqa: BLE001 - a foreign __str__ may raise anything, and must not cost the first error
        return "<no message: its __str__ raised %s>" % type(second).__name__


def _traceback(error):
    """The traceback without the leading frames of the server and the import system; all frames if no other is left."""
    step = error.__traceback__
    while step is not None and step.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_SHOWN:
        step = step.tb_next
    shown = step or error.__traceback__
    try:
        lines = traceback.format_exception(type(error), error, shown)
    except Exception:  # noqa: BLE001 - from Python 3.12 on it looks for names like a missing one, which may be no text
        lines = [*traceback.format_tb(shown), "%s: %s\n" % (class_name(type(error)), _message(error))]
    return _bounded("".join(lines))


def _bounded(text):
    """At most TEXT_CHARS characters: of a longer text the beginning and the end, with a note between them."""
    if len(text) <= TEXT_CHARS:
        return text
    half = TEXT_CHARS // 2
    return "%s\n… %d characters left out …\n%s" % (text[:half], len(text) - 2 * half, text[-half:])
