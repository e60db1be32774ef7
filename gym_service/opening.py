"""The joint's other half: an entry in, an open env out.

Knows the launcher, the connection and the env, and which error belongs to which failure of a start. Client only;
Python 3.10 and up.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from gym_service_launcher import supervisor
from gym_service_launcher.command import CommandLink
from gym_service_launcher.config import Entry
from gym_service_launcher.dial import RemoteLink, dial
from gym_service_launcher.nurseries import Hold
from gym_service_launcher.supervisor import Link
from gymnasium.error import UnregisteredEnv

from gym_service import arena, channel, jpeg, messages, pictures
from gym_service.client.connection import Connection, one
from gym_service.client.env import RemoteEnv, encode, portable
from gym_service.client.thrift import Thrift
from gym_service.errors import (
    CallTimeout,
    ConfigError,
    ConnectionLost,
    EnvError,
    GymServiceError,
    ProtocolError,
    ServerCrashed,
)

if TYPE_CHECKING:
    from gym_service.client.vector import RemoteVectorEnv

AnyLink = Link | CommandLink | RemoteLink


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
    making = _Making(entry, _recipe(entry, kwargs))
    making.begin()
    description = making.description(Thrift())
    # So that the next server, if there must be one, is forked from the same nursery.
    hold = making.hold.another() if making.hold and entry.restart == "on-reset" else None
    try:
        return RemoteEnv(
            making.connection,
            description,
            timeouts=asdict(entry.timeouts),
            remake=remake,
            restart=partial(connect, entry, kwargs) if entry.restart == "on-reset" else None,
            at_close=hold.release if hold else None,
        )
    except BaseException:
        making.connection.close(entry.timeouts.close)
        if hold:
            hold.release(0.0)
        raise


def open_vector_env(
    entry: Entry, kwargs: Mapping[str, Any], *, num_envs: int, autoreset_mode: Any
) -> "RemoteVectorEnv":
    """Start the entry's workers and have each make its share of the envs, all at once.

    Blocks and raises as ``open_env``; ValueError where ``num_envs`` or ``autoreset_mode`` is none.
    """
    from gym_service.client.vector import AutoresetMode, RemoteVectorEnv, shares_of  # needs Gymnasium 1.0

    mode = AutoresetMode(autoreset_mode)
    shares = shares_of(num_envs, entry.workers)
    recipe = _recipe(entry, kwargs)
    with ExitStack() as undo:
        begun: list[_Making] = []
        for share in shares:
            batch = {
                "count": share.stop - share.start,
                "first_index": share.start,
                "autoreset_mode": mode.value,
            }
            begun.append(_Making(entry, {**recipe, "batch": batch}))
            undo.callback(begun[-1].connection.close, 0.0)
        for making in begun:
            making.begin()
        thrift = Thrift()  # of them all, which share one link; what the first one waits for says how fast that is
        descriptions = [making.description(thrift, measures=making is begun[0]) for making in begun]
        connections = [making.connection for making in begun]
        env = RemoteVectorEnv(connections, descriptions, shares, autoreset_mode=mode, timeouts=asdict(entry.timeouts))
        undo.pop_all()
    return env


def connect(entry: Entry, kwargs: Mapping[str, Any]) -> tuple[Connection, dict[str, Any]]:
    """A connection to a server that has made the env, and the env's description. Blocks and raises as ``open_env``."""
    making = _Making(entry, _recipe(entry, kwargs))
    making.begin()
    return making.connection, making.description(Thrift())


def _recipe(entry: Entry, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": entry.id,
        "entry_point": entry.entry_point,
        "imports": list(entry.imports),
        "kwargs": dict(kwargs),
        "api": entry.api,
        "max_episode_steps": entry.max_episode_steps,
        "wrappers": [portable(wrapper) for wrapper in entry.wrappers],
        "frames": entry.frames,
    }


class _Making:
    """A server that is started and makes what a recipe says, in steps: so that several of them can be at it at once."""

    def __init__(self, entry: Entry, recipe: Mapping[str, Any]) -> None:
        """Start it."""
        self._encoded = encode(("$", recipe))
        self._entry = entry
        self._link = _link_of(entry)
        self._deadline = self._link.begun + entry.timeouts.start
        stream = _channel_of(self._link)
        self.connection = Connection(stream, self._link)
        if isinstance(self._link, CommandLink):
            self._link.end_sending = stream.end_sending
            with self._errors_explained():
                self.connection.send_ahead(self._link.parcel, self._remaining_s())

    def begin(self) -> None:
        """Have it make the env, once it is up."""
        link = self._link
        with self._errors_explained():
            self._refuse_frames_without_pillow()
            if link.mark:
                noise = link.noise if isinstance(link, CommandLink) else None
                self.connection.skip_to(link.mark, self._remaining_s(), noise)
            self.connection.begin(messages.MAKE, self._encoded, self._remaining_s())

    @property
    def hold(self) -> Hold | None:
        """On the nursery that the server was forked from, if it was."""
        return self._link.hold

    def description(self, thrift: Thrift, *, measures: bool = True) -> dict[str, Any]:
        """What the server has made, once it has. Pictures are coded as it says, if at all."""
        with self._errors_explained():
            description = self.connection.finish(one)
            frames = _frames_of(description)
            if frames != pictures.RAW:
                if frames != pictures.shown(self._entry.frames) or self._link.arena_sock:
                    text = f"during make the other side chose frames = {frames!r}, which nobody asked for"
                    raise ProtocolError(text, during="make")
                is_auto = frames == pictures.AUTO
                self.connection.code_pictures(pictures.Restorer(thrift if is_auto else None, measures))
            self.connection.warn(self._link.warning)
        return description

    def _refuse_frames_without_pillow(self) -> None:
        frames = self._entry.frames
        if frames.startswith("jpeg") and not self._link.arena_sock:  # with shared memory nothing is coded
            try:
                jpeg.require(frames)
            except ImportError as error:
                file = self._entry.file
                raise ConfigError(str(error), file=str(file) if file else None, key="frames") from error

    def _remaining_s(self) -> float:
        return self._deadline - time.monotonic()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """No server, no open connection: an error here closes it, and says what kept the env from being made."""
        entry, link = self._entry, self._link
        try:
            yield
        except (ServerCrashed, ConnectionLost) as error:
            raise link.failed_to_start("") from error
        except CallTimeout as error:
            reason = supervisor.lateness(entry, error.silence, error.stack)
            raise link.failed_to_start(reason, supervisor.LATE_ADVICE, in_time=False, tail=error.tail) from error
        except EnvError as error:
            self.connection.close(entry.timeouts.close)
            raise _explained(error, entry, link) from error.__cause__
        except BaseException:
            self.connection.close(0.0)
            raise


def _frames_of(description: Any) -> Any:
    """What a description says of frames; a server of before they could be coded says nothing."""
    target = description.get("target") if type(description) is dict else None
    return target.get("frames", pictures.RAW) if type(target) is dict else pictures.RAW


def _link_of(entry: Entry) -> AnyLink:
    return dial(entry, supervisor.to_stderr) if entry.address else supervisor.launch(entry, supervisor.to_stderr)


def _channel_of(link: AnyLink) -> channel.Channel:
    if isinstance(link, RemoteLink) and link.is_secured:
        from gym_service.client.tls_stream import TlsStream  # imports ssl

        return channel.Channel(TlsStream(link.sock))
    shared = arena.over_socket(link.arena_sock) if link.arena_sock else None
    if link.sock is not None:
        return channel.over_socket(link.sock, shared)
    assert link.pipes is not None
    return channel.over_pipes(*link.pipes, shared)


def _explained(error: EnvError, entry: Entry, link: AnyLink) -> GymServiceError:
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


def _import_advice(error: EnvError, entry: Entry, link: AnyLink) -> str:
    if isinstance(link, CommandLink):
        return f"install it for {link.executable} over there, or name its folder there in pythonpath = […]"
    if not isinstance(link, Link):
        return "install it where that server runs"
    if not isinstance(error, ModuleNotFoundError):  # it is there, and something that it needs is not: a library, say
        return link.by_hand()
    missing = [str(path) for path in entry.pythonpath if not path.exists()]
    gone = f" ({', '.join(missing)} is not there)" if missing else ""
    return f"install it for {link.executable}, or name its folder in pythonpath = […]{gone}"
