"""What can go wrong with a program in another interpreter.

Knows nothing but the texts. Python 3.10 and up. ``gym_service.errors`` re-exports all of it: users
import from there.
"""

from typing import Any


class GymServiceError(Exception):
    """The root of every error of gym-service.

    The text says what happened, where, the evidence, and what to try. The same facts are attributes,
    given here as keywords, so that a program need not read the text.

    An error can be built from its text alone and survives pickling with its facts: ``gym.make``
    re-raises as ``type(e)(text)``, and vector envs send errors from process to process.
    """

    def __init__(self, text: str = "", **facts: Any) -> None:
        # Not super(): of an error that is also a UnicodeDecodeError, the next in line wants five arguments.
        Exception.__init__(self, text)
        self.__dict__.update(facts)


class ConfigError(GymServiceError):
    """envs.toml, or the same keys given in Python, cannot be used as they stand.

    Attributes: ``file`` (str or None), ``key`` (the path of the key, such as
    ``envs."PushT-v0".timeouts.step``).
    """

    file: str | None = None
    key: str = ""


class ServerStartError(GymServiceError):
    """A server did not come up.

    Attributes: ``argv`` (tuple of str), ``interpreter`` (str), ``exit_code`` (int or None; a negative
    one is a signal), ``tail`` (the end of what it printed).
    """

    argv: tuple[str, ...] = ()
    interpreter: str = ""
    exit_code: int | None = None
    tail: str = ""


class InterpreterNotFound(ConfigError, ServerStartError):
    """The interpreter that an entry names is not there, or is no program.

    It is a mistake in the entry and a server that did not come up, and is caught as either.
    """


class ServerCrashed(GymServiceError):
    """A server that was up has died.

    Attributes: ``during`` (the call that met it), ``exit_code`` (int or None; a negative one is a
    signal), ``tail`` (the end of what it printed). Make a new env: this one stays closed.
    """

    during: str = ""
    exit_code: int | None = None
    tail: str = ""


class AuthError(GymServiceError):
    """The two ends of a socket could not prove to each other that they know the same token."""


class ConnectionLost(GymServiceError):
    """The host of a server, or the way to it, went away.

    Attributes: ``during`` (the call), ``address`` (or the command), ``tail`` (the end of what came through, if known).
    """

    during: str = ""
    address: str = ""
    tail: str = ""
