"""The errors of starting a program in another interpreter and of connecting to it.

Knows nothing else. Python 3.10 and up. ``gym_service.errors`` re-exports all of them: users import from there.
"""

from typing import Any


class GymServiceError(Exception):
    """The base class of all errors of gym-service.

    The text says what happened, where, with which evidence, and what to try. The same facts are attributes, so that a
    program need not parse the text.

    An error can be built from its text alone and survives pickling with its facts: ``gym.make`` re-raises as
    ``type(e)(text)``, and vector envs send errors between processes.
    """

    def __init__(self, text: str = "", **facts: Any) -> None:
        # Not super(): for an error that is also a UnicodeDecodeError, that would need five arguments.
        Exception.__init__(self, text)
        self.__dict__.update(facts)


class ConfigError(GymServiceError):
    """envs.toml, or a keyword given in Python, has a mistake.

    Attributes: ``file`` (str or None), ``key`` (the path of the key, such as ``envs."PushT-v0".timeouts.step``).
    """

    file: str | None = None
    key: str = ""


class ServerStartError(GymServiceError):
    """A server did not start, or did not make the env in time.

    Attributes: ``argv`` (tuple of str), ``interpreter`` (str), ``exit_code`` (int or None; a negative one is a signal),
    ``tail`` (the end of its output).
    """

    argv: tuple[str, ...] = ()
    interpreter: str = ""
    exit_code: int | None = None
    tail: str = ""


class InterpreterNotFound(ConfigError, ServerStartError):
    """The interpreter of an entry does not exist or is not a program.

    It is a mistake in the entry and a server that did not start, so it can be caught as either.
    """


class ServerCrashed(GymServiceError):
    """A running server has died. The env stays closed: make a new one, or set ``restart = "on-reset"``.

    Attributes: ``during`` (the call that noticed it), ``exit_code`` (int or None; a negative one is a signal), ``tail``
    (the end of its output).
    """

    during: str = ""
    exit_code: int | None = None
    tail: str = ""


class AuthError(GymServiceError):
    """The two ends of a connection could not authenticate each other: another token, certificate or user."""


class ConnectionLost(GymServiceError):
    """The connection to a server on another host, at an address or behind a command was lost. The env is closed.

    Attributes: ``during`` (the call), ``address`` (or the command), ``tail`` (the end of the output, if known).
    """

    during: str = ""
    address: str = ""
    tail: str = ""
