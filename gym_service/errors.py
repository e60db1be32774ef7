"""Every error that a user may want to catch.

Knows the launcher's errors, which it re-exports, and those of Python and Gymnasium. Client only; Python 3.10 and up.

Each error has its facts as attributes, can be built from its text alone (``gym.make`` re-raises as ``type(e)(text)``)
and survives pickling. If a simulator raises one of Python's own exceptions or one of ``gymnasium.error``, the client
raises an EnvError that is *also* that type, so ``except TypeError`` in a training library keeps its meaning. There is
one class for each, created when this module loads, so that pickle finds them by name in any process.
"""

import builtins
import warnings
from collections.abc import Iterable

import gymnasium.error as gymnasium_error
from gym_service_launcher.errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    GymServiceError,
    InterpreterNotFound,
    ServerCrashed,
    ServerStartError,
)

__all__ = [
    "ApiMismatch",
    "AttributeCannotCross",
    "AttributeOfClosedError",
    "AuthError",
    "CallTimeout",
    "CannotCross",
    "ClosedError",
    "ConfigError",
    "ConnectionLost",
    "EnvError",
    "ForkedError",
    "GymServiceError",
    "ImportFailed",
    "InterpreterNotFound",
    "ProtocolError",
    "ServerCrashed",
    "ServerStartError",
    "TraceError",
    "VersionMismatch",
    "env_error_class",
]


class CallTimeout(GymServiceError):
    """A call took longer than its timeout. The server is stopped and the env stays closed.

    In the state ``waiting`` it was a call of another thread that took too long: nothing was sent, and the env is open.
    Or the time of a ``recv`` of a vector env has passed: nothing is lost, and ``env_ids`` are in flight.

    Attributes: ``during`` (the call), ``timeout_s`` (seconds), ``state`` of the server (``stopped`` by a signal;
    ``blocked``: its main thread was waiting; ``busy``: it was computing; ``unknown``), ``stack`` (where its Python code
    was), ``tail`` (the end of its output).
    """

    during: str = ""
    timeout_s: float = 0.0
    state: str = "unknown"
    stack: str = ""
    tail: str = ""

    @property
    def silence(self) -> str:
        """Deprecated: the former name of ``state``. Its value ``silent`` is now ``unknown``."""
        warnings.warn("CallTimeout.silence is deprecated; read CallTimeout.state", DeprecationWarning, stacklevel=2)
        return self.state


class ImportFailed(ServerStartError, ImportError):
    """An import failed in the simulator's interpreter while the env was made: a package is missing there.

    It is also an ImportError, as in-process, for programs that continue without a package that cannot be imported.
    """


class EnvError(GymServiceError):
    """The simulator raised an exception. The env stays usable, as in-process.

    The text is the simulator's message, then the remote traceback. Attributes: ``type_name`` (of the exception in the
    simulator, such as ``mujoco.FatalError``), ``message``, ``remote_traceback``.
    """

    type_name: str = ""
    message: str = ""
    remote_traceback: str = ""

    def __str__(self) -> str:
        # KeyError would show the repr of the text, UnicodeDecodeError nothing.
        return str(self.args[0]) if self.args else ""


class CannotCross(GymServiceError):
    """A value or a space has no form on the wire. The env stays usable.

    If it is an argument, nothing was sent. If it is an observation or a result, the simulator has carried out the call.

    Attributes: ``path`` of the value (such as ``$.action['x'][3]``), ``type_name``.
    """

    path: str = ""
    type_name: str = ""


class AttributeCannotCross(CannotCross, AttributeError):
    """An attribute of the simulator has a value without a form on the wire.

    It is also an AttributeError: ``hasattr`` returns False and ``getattr`` its default, as libraries expect.
    """


class VersionMismatch(GymServiceError):
    """The server has another version of gym-service, whose protocol differs. The env is closed."""


class ForkedError(GymServiceError):
    """The env was used in a forked child of the process that made it. Make one in the child: servers are not shared."""


class ClosedError(GymServiceError):
    """The env is closed, by ``close()`` or by an earlier error, which the text repeats."""


class AttributeOfClosedError(ClosedError, AttributeError):
    """An attribute of the simulator was read after the env was closed.

    It is also an AttributeError: ``hasattr`` returns False and ``getattr`` its default, as libraries expect that clean
    up.
    """


class ProtocolError(GymServiceError):
    """The other side violated the protocol: a bad frame, a wrong id, more bytes than allowed. The env is closed."""


class TraceError(GymServiceError):
    """A trace cannot be written, read or played: its file is missing, truncated, corrupt or of another version.

    Attribute: ``path`` of the file; empty if there is none.
    """

    path: str = ""


_by_remote_name: dict[str, type[EnvError]] = {"Exception": EnvError}


def env_error_class(remote_names: Iterable[str]) -> type[EnvError]:
    """The class to raise for a remote exception, given the names of its known base classes, nearest first."""
    return next((_by_remote_name[name] for name in remote_names if name in _by_remote_name), EnvError)


def _add(name: str, also: type[Exception], *remote_names: str) -> None:
    text = f"The simulator raised {remote_names[0]}, or an exception derived from it. See EnvError."
    made = type(name, (EnvError, also), {"__doc__": text, "__module__": __name__})
    globals()[name] = made
    __all__.append(name)
    _by_remote_name.update(dict.fromkeys(remote_names, made))


# An ExceptionGroup cannot be built from a text alone; the plain Exception is EnvError itself.
for _found in list(vars(builtins).values()):
    if not (isinstance(_found, type) and issubclass(_found, Exception)):
        continue
    if _found.__name__ not in ("Exception", "ExceptionGroup") and f"Env{_found.__name__}" not in globals():
        _add(f"Env{_found.__name__}", _found, _found.__name__)

for _found in list(vars(gymnasium_error).values()):
    if isinstance(_found, type) and issubclass(_found, Exception) and _found.__module__ == gymnasium_error.__name__:
        _name = _found.__name__
        _add(
            "EnvGymnasiumError" if _found is gymnasium_error.Error else f"Env{_name}",
            _found,
            f"gymnasium.error.{_name}",
            f"gym.error.{_name}",
        )


class ApiMismatch(EnvTypeError, EnvValueError):  # type: ignore[name-defined, misc] # noqa: F821 - made above
    """The env does not speak the API that a call needs, or returned what has no form in it. The env stays usable.

    Its reset() takes neither a seed nor options, or reset() or step() returned another number of values; in a vector
    env, what a SyncVectorEnv cannot put together either. Nothing was raised in the simulator: ``type_name`` is the
    error that stands for it, ``remote_traceback`` is empty.
    """


_by_remote_name["gym_service.ApiMismatch"] = ApiMismatch
