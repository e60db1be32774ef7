"""Encodes the arguments of calls, and knows the time limit of each call.

Knows encoders and the names of calls. Never knows an env or a connection. Python 3.10 and up.
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gym_service.errors import CannotCross
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import CannotEncode

Timeouts = Mapping[str, float]  # seconds, by the name of the call; math.inf for none


def limits_of(timeouts: Timeouts) -> dict[str, float]:
    """The limit of every call in seconds, by its name; a call without an entry has none."""
    limits_s = {name: timeouts.get(name, math.inf) for name in messages.CALL_NAMES.values()}
    # The limit of "call" also applies to calls that read or set attributes.
    return limits_s | dict.fromkeys(("get", "set", "has"), limits_s["call"])


def encode(*named_values: tuple[str, Any]) -> Encoder:
    """The encoded fields of a call, each with the path that names it in errors. Raises CannotCross."""
    encoder = Encoder()
    try:
        for path, value in named_values:
            encoder.add(value, path)
    except CannotEncode as error:
        raise CannotCross(str(error), path=error.path, type_name=error.type_name) from error
    return encoder


def portable(function: str | Callable[..., Any]) -> str | tuple[str, bytes]:
    """A callable in the form in which it travels: a name as it is, anything else pickled, with Python's version.

    Byte code is valid for one minor version only, so the server compares versions and may answer with CannotCross.
    """
    if isinstance(function, str):
        return function
    import cloudpickle  # imported here because most users never pass a callable

    return f"{sys.version_info[0]}.{sys.version_info[1]}", cloudpickle.dumps(function)
