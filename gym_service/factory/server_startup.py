"""PendingServer: a server from its start until its env is made, and the error where that fails.

Knows the link, the connection, and which error belongs to which failure of a start. Never knows which kind of server
it is, nor how it was started. Python 3.10 and up.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.servers.link import (
    LATE_ADVICE,
    PipeEnds,
    ServerLink,
    ServerStream,
    SocketEnd,
    TlsEnd,
    late_start_reason,
)
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
from gym_service.factory import known_failures
from gym_service.protocol import messages
from gym_service.transport import arena, channel, image_codec, jpeg


def recipe_of(entry: Entry, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of an env, as the server takes it: which env, with what, and how it is wrapped."""
    return {
        "id": entry.id,
        "entry_point": entry.entry_point,
        "imports": list(entry.imports),
        "argv": list(entry.argv),
        "kwargs": dict(kwargs),
        "api": entry.api,
        "max_episode_steps": entry.max_episode_steps,
        "wrappers": [portable(wrapper) for wrapper in entry.wrappers],
        "frames": entry.frames,
        "max_message_mib": entry.max_message_mib,
    }


class PendingServer:
    """A server that makes the env of a recipe, in steps, so that several servers can be at it at the same time.

    An error in any step closes the connection and ends the server.
    """

    def __init__(self, entry: Entry, link: ServerLink, recipe: Mapping[str, Any]) -> None:
        """Take the server over: from here on it ends with ``connection``. Sends what its stream begins with.

        Raises as ``request_env``, and CannotCross where the recipe has no form on the wire.
        """
        self.recipe = recipe
        self._entry = entry
        self._link = link
        self._deadline = link.started_at + entry.timeouts.start
        self._stream = link.take_stream()
        self.connection = Connection(_channel_over(self._stream), link)
        self.connection.bound_bytes = entry.max_message_mib * 2**20
        self.connection.allow_replies_of(self.connection.bound_bytes)
        with self._errors_explained():
            self._encoded = encode(("$", recipe))
            if self._stream.send_first:
                self.connection.send_ahead(self._stream.send_first, self._remaining_s())

    def request_env(self) -> None:
        """Wait until the server is up, then ask it for the env.

        Raises:
            ServerStartError: the server did not come up, or not in time.
            ConfigError: ``frames = "jpeg"`` needs Pillow, and this process has none.
        """
        with self._errors_explained():
            if self._stream.mark:
                self.connection.skip_to(self._stream.mark, self._remaining_s(), self._stream.skipped)
            memory = self._link.accept_memory()
            if memory:
                self.connection.share(arena.over_socket(memory))
            self._refuse_frames_without_pillow()
            self.connection.begin(messages.MAKE, self._encoded, self._remaining_s())

    def wait_for_env(self, selector: CodecSelector | None = None, *, measures: bool = True) -> dict[str, Any]:
        """Wait until the env is made, and return its description.

        ``selector`` and ``measures`` are for coded frames, as ``ImageDecoder`` takes them.

        Raises:
            ServerStartError: the server ended, the env was not made in time, or (as ImportFailed) an import failed.
            EnvError: the simulator raised.
            CannotCross: a space has no form on the wire.
            ProtocolError: the answer breaks the rules of the wire.
        """
        with self._errors_explained():
            description = self.connection.finish(one)
            frames = _frames_of(description)
            if frames != image_codec.RAW:
                if frames != image_codec.shown(self._entry.frames) or self.connection.arena:
                    text = f"during make the server chose frames = {frames!r}, which this client did not ask for"
                    raise ProtocolError(text, during="make")
                is_auto = frames == image_codec.AUTO
                self.connection.use_image_codec(
                    image_codec.ImageDecoder((selector or CodecSelector()) if is_auto else None, measures)
                )
            self.connection.warn(self._link.start_warning())
        return description

    def keep_for_restart(self) -> Callable[[float], None]:
        """As the link's."""
        return self._link.keep_for_restart()

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
        """Turn an error of the block into the one that tells why there is no env. The connection is closed then."""
        entry, link = self._entry, self._link
        try:
            yield
        except (ServerCrashed, ConnectionLost) as error:
            raise link.start_error() from error
        except CallTimeout as error:
            reason = late_start_reason(entry.timeouts.start, error.state, error.stack)
            raise link.start_error(reason, LATE_ADVICE, probe=False, tail=error.tail) from error
        except EnvError as error:
            self.connection.close(entry.timeouts.close)
            raise _explained(error, entry, link, self.recipe.get("batch", {}).get("num_envs", 1)) from error.__cause__
        except BaseException:
            self.connection.close(0.0)
            raise


def _frames_of(description: Any) -> Any:
    """The frames that a description names. Older servers, which cannot code frames, name none."""
    target = description.get("target") if type(description) is dict else None
    return target.get("frames", image_codec.RAW) if type(target) is dict else image_codec.RAW


def _channel_over(stream: ServerStream) -> channel.Channel:
    match stream.end:
        case SocketEnd(sock):
            return channel.over_socket(sock)
        case PipeEnds(read_fd, write_fd):
            return channel.over_pipes(read_fd, write_fd)
        case TlsEnd(sock):
            from gym_service.client.tls_stream import TlsStream  # imports ssl

            return channel.Channel(TlsStream(sock))


def _explained(error: EnvError, entry: Entry, link: ServerLink, num_envs: int) -> GymServiceError:
    """An import that failed in the target is a failed start. Any other error is the simulator's own."""
    if isinstance(error, UnregisteredEnv):
        text = f'{error}\n  try: imports = ["…"] with the module that registers it, or another id'
        return type(error)(text, **vars(error))
    if not isinstance(error, ImportError):
        advice = known_failures.advice_for_env(error, num_envs)
        return type(error)(f"{error}\n  try: {advice}", **vars(error)) if advice else error
    reason = f"{error.type_name}: {error.message}"
    if not any(f"'{module}'" in error.message for module in entry.imports):  # else the entry shows where it stands
        reason += "".join(f"\n    {line}" for line in error.remote_traceback.splitlines())
    usual = link.import_advice(is_missing=isinstance(error, ModuleNotFoundError))
    advice = known_failures.advice_for_import(error) or usual
    failure = link.start_error(reason, advice)
    return ImportFailed(str(failure), **vars(failure))
