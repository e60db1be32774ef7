"""A server that was started, and the env that it is told to make.

Knows links, the connection, and which error belongs to which failure of a start. Never knows how a server is started.
Python 3.10 and up.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.processes.forkservers import ForkServerRef
from gym_service_launcher.servers import local
from gym_service_launcher.servers.local import LocalServer
from gym_service_launcher.servers.over_command import CommandServer
from gymnasium.error import UnregisteredEnv

from gym_service.client.codec_selection import CodecSelector
from gym_service.client.connection import Connection, one
from gym_service.client.requests import encode, portable
from gym_service.errors import (
    CallTimeout,
    ConfigError,
    ConnectionLost,
    EnvError,
    GymServiceError,
    ImportFailed,
    ProtocolError,
    ServerCrashed,
)
from gym_service.protocol import messages
from gym_service.transport import arena, channel, image_codec, jpeg

if TYPE_CHECKING:
    from gym_service_launcher.servers.attached import AttachedServer  # loaded only where there is an address

AnyLink: TypeAlias = "LocalServer | CommandServer | AttachedServer"


def recipe_of(entry: Entry, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the server is told: which env, and what is done on the way to it."""
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


class PendingServer:
    """A server that is started and makes what a recipe says, in steps: so that several of them can be at it at once."""

    def __init__(self, entry: Entry, link: AnyLink, recipe: Mapping[str, Any]) -> None:
        """Take the server over, which ends with the connection from here on. Raises as ``begin``, and CannotCross."""
        self._entry = entry
        self._link = link
        self._deadline = link.begun + entry.timeouts.start
        stream = _channel_of(link)
        self.connection = Connection(stream, link)
        with self._errors_explained():
            self._encoded = encode(("$", recipe))
            if isinstance(link, CommandServer):
                link.end_sending = stream.end_sending
                self.connection.send_ahead(link.bundle, self._remaining_s())

    def request_env(self) -> None:
        """Have it make the env, once it is up."""
        link = self._link
        with self._errors_explained():
            if link.mark:
                noise = link.noise if isinstance(link, CommandServer) else None
                self.connection.skip_to(link.mark, self._remaining_s(), noise)
            met = link.same_host.accept() if link.same_host else None
            if met:
                self.connection.share(arena.over_socket(met))
            self._refuse_frames_without_pillow()
            self.connection.begin(messages.MAKE, self._encoded, self._remaining_s())

    @property
    def hold(self) -> ForkServerRef | None:
        """On the nursery that the server was forked from, if it was."""
        return self._link.hold

    def wait_for_env(self, selector: CodecSelector | None = None, *, measures: bool = True) -> dict[str, Any]:
        """What the server has made, once it has. Pictures are coded as it says, if at all."""
        with self._errors_explained():
            description = self.connection.finish(one)
            frames = _frames_of(description)
            if frames != image_codec.RAW:
                if frames != image_codec.shown(self._entry.frames) or self.connection.arena:
                    text = f"during make the other side chose frames = {frames!r}, which nobody asked for"
                    raise ProtocolError(text, during="make")
                is_auto = frames == image_codec.AUTO
                self.connection.use_image_codec(
                    image_codec.ImageDecoder((selector or CodecSelector()) if is_auto else None, measures)
                )
            self.connection.warn(self._link.warning)
        return description

    def _refuse_frames_without_pillow(self) -> None:
        frames = self._entry.frames
        if frames.startswith("jpeg") and not self.connection.arena:  # with shared memory nothing is coded
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
            reason = local.lateness(entry, error.state, error.stack)
            raise link.failed_to_start(reason, local.LATE_ADVICE, in_time=False, tail=error.tail) from error
        except EnvError as error:
            self.connection.close(entry.timeouts.close)
            raise _explained(error, entry, link) from error.__cause__
        except BaseException:
            self.connection.close(0.0)
            raise


def _frames_of(description: Any) -> Any:
    """What a description says of frames; a server of before they could be coded says nothing."""
    target = description.get("target") if type(description) is dict else None
    return target.get("frames", image_codec.RAW) if type(target) is dict else image_codec.RAW


def _channel_of(link: AnyLink) -> channel.Channel:
    if link.is_secured and link.sock:
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
    failure = link.failed_to_start(reason, _import_advice(error, entry, link))
    return ImportFailed(str(failure), **vars(failure))


def _import_advice(error: EnvError, entry: Entry, link: AnyLink) -> str:
    if isinstance(link, CommandServer):
        return f"install it for {link.executable} over there, or name its folder there in pythonpath = […]"
    if not isinstance(link, LocalServer):
        return "install it where that server runs"
    if not isinstance(error, ModuleNotFoundError):  # it is there, and something that it needs is not: a library, say
        return link.by_hand()
    missing = [str(path) for path in entry.pythonpath if not path.exists()]
    gone = f" ({', '.join(missing)} is not there)" if missing else ""
    return f"install it for {link.executable}, or name its folder in pythonpath = […]{gone}"
