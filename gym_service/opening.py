"""The joint's other half: an entry in, an open env out.

Knows the launcher, the connection and the env, and which error belongs to which failure of a start. Client only;
Python 3.10 and up.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from textwrap import indent
from typing import Any

from gym_service_launcher import supervisor
from gym_service_launcher.config import Entry
from gym_service_launcher.dial import RemoteLink, dial
from gym_service_launcher.supervisor import Link
from gymnasium.error import UnregisteredEnv

from gym_service import channel, messages
from gym_service.client.connection import Connection, one
from gym_service.client.env import RemoteEnv, encode, portable
from gym_service.encoder import Encoder
from gym_service.errors import CallTimeout, ConnectionLost, EnvError, GymServiceError, ServerCrashed


def open_env(entry: Entry, kwargs: Mapping[str, Any], remake: tuple[Callable[..., Any], tuple[Any, ...]]) -> RemoteEnv:
    """Start the entry's server, or attach to the one at its address, and have it make the env.

    Blocks until the env is made, at most ``entry.timeouts.start`` seconds, and before that while a venv of
    ``requires`` is built.

    Args:
        entry: where the simulator lives and which env it is.
        kwargs: what the simulator's env is made with.
        remake: what the env is pickled as.

    Raises:
        ConfigError, ServerStartError, AuthError: there is no env; nothing is left behind.
        EnvError, CannotCross: the simulator raised while the env was made, or one of its spaces cannot cross.
    """
    connection, description = connect(entry, kwargs)
    try:
        return RemoteEnv(
            connection,
            description,
            timeouts=asdict(entry.timeouts),
            remake=remake,
            restart=partial(connect, entry, kwargs) if entry.restart == "on-reset" else None,
        )
    except BaseException:
        connection.close(entry.timeouts.close)
        raise


def connect(entry: Entry, kwargs: Mapping[str, Any]) -> tuple[Connection, dict[str, Any]]:
    """A connection to a server that has made the env, and the env's description. Blocks and raises as ``open_env``."""
    recipe = encode(("$", _recipe(entry, kwargs)))
    begun = time.monotonic()
    if entry.address:
        return _make(dial(entry, supervisor.to_stderr), entry, recipe, begun + entry.timeouts.start)
    link = supervisor.launch(entry, supervisor.to_stderr)
    # Building a venv is none of the server's time.
    return _make(link, entry, recipe, time.monotonic() + entry.timeouts.start)


def _recipe(entry: Entry, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": entry.id,
        "entry_point": entry.entry_point,
        "imports": list(entry.imports),
        "kwargs": dict(kwargs),
        "api": entry.api,
        "max_episode_steps": entry.max_episode_steps,
        "wrappers": [portable(wrapper) for wrapper in entry.wrappers],
    }


def _make(link: Link | RemoteLink, entry: Entry, recipe: Encoder, deadline: float) -> tuple[Connection, dict[str, Any]]:
    connection = Connection(_channel_of(link), link)
    try:
        if link.mark:
            connection.skip_to(link.mark, entry.timeouts.start)
        return connection, connection.call(messages.MAKE, recipe, deadline - time.monotonic(), one)
    except (ServerCrashed, ConnectionLost) as error:
        raise link.failed_to_start("") from error
    except CallTimeout as error:
        where = f"; its Python code was here:\n{indent(error.stack, '    ')}" if error.stack else ""
        raise link.failed_to_start(
            f"it was not up after {entry.timeouts.start:g} s ({error.silence}){where}",
            "a longer one, timeouts = { start = … }, if it was still at work",
            in_time=False,
        ) from error
    except EnvError as error:
        connection.close(entry.timeouts.close)
        raise _explained(error, entry, link) from error.__cause__
    except BaseException:
        connection.close(0.0)
        raise


def _channel_of(link: Link | RemoteLink) -> channel.Channel:
    if link.sock is not None:
        return channel.over_socket(link.sock)
    assert link.pipes is not None
    return channel.over_pipes(*link.pipes)


def _explained(error: EnvError, entry: Entry, link: Link | RemoteLink) -> GymServiceError:
    """An import that failed in the target is a start that failed; anything else is the simulator's own word."""
    if isinstance(error, UnregisteredEnv):
        text = f'{error}\n  try: imports = ["…"] with the module that registers it, or another id'
        return type(error)(text, **vars(error))
    if not isinstance(error, ImportError):
        return error
    reason = f"{error.type_name}: {error.message}"
    if not any(f"'{module}'" in error.message for module in entry.imports):  # else where it stands is known
        reason += "".join(f"\n    {line}" for line in error.remote_traceback.splitlines())
    return link.failed_to_start(reason, _import_advice(error, entry, link))


def _import_advice(error: EnvError, entry: Entry, link: Link | RemoteLink) -> str:
    if not isinstance(link, Link):
        return "install it where that server runs"
    if not isinstance(error, ModuleNotFoundError):  # it is there, and something that it needs is not: a library, say
        return link.by_hand()
    missing = [str(path) for path in entry.pythonpath if not path.exists()]
    gone = f" ({', '.join(missing)} is not there)" if missing else ""
    return f"install it for {link.executable}, or name its folder in pythonpath = […]{gone}"
