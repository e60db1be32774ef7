"""PendingServer: a server from its start until its env is made, and the error where that fails.

Knows the link, the connection, and which error belongs to which failure of a start. Never knows which kind of server
it is, nor how it was started. Python 3.10 and up.
"""

import os
import select
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.interpreters.evidence import Evidence, Explanation
from gym_service_launcher.servers.link import LATE_ADVICE, ServerLink, late_start_reason, output_block
from gym_service_launcher.servers.stream import LONGEST_WAIT_S, PipeEnds, SocketEnd, StreamEnd, TlsEnd
from gymnasium.error import UnregisteredEnv

from gym_service.client import error_mapping
from gym_service.client.arrays import ArrayMaker
from gym_service.client.codec_selection import CodecSelector
from gym_service.client.connection import Connection, one
from gym_service.client.plain_data import plain_data
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
    ServerStartError,
)
from gym_service.factory.progress import log
from gym_service.protocol import messages
from gym_service.transport import arena, channel, image_codec, jpeg

# After this long of waiting, the user is told what is waited for.
QUIET_S = 2.0
# What a server printed right before it died says why; what came before may be about anything.
LAST_WORDS_LINES = 10


def recipe_of(entry: Entry, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of an env, as the server takes it: which env, with what, and how it is wrapped."""
    return {
        "id": entry.id,
        "entry_point": entry.entry_point,
        "imports": list(entry.imports),
        "argv": list(entry.argv),
        "setup": list(entry.setup),
        "kwargs": {name: plain_data(value, f"$.kwargs.{name}") for name, value in kwargs.items()},
        "api": entry.api,
        "max_episode_steps": entry.max_episode_steps,
        "wrappers": [_portable_wrapper(wrapper) for wrapper in entry.wrappers],
        "frames": entry.frames,
        "max_message_mib": entry.max_message_mib,
        "arena_mib": entry.arena_mib,
        "actions": entry.actions,
        "vectorized": entry.vectorized,
    }


def _portable_wrapper(wrapper: Any) -> Any:
    if not isinstance(wrapper, Mapping):
        return portable(wrapper)
    kwargs = {name: plain_data(value, f"$.wrappers.{name}") for name, value in wrapper["kwargs"].items()}
    return {"wrapper": portable(wrapper["wrapper"]), "kwargs": kwargs}


class PendingServer:
    """A server that makes the env of a recipe, in steps, so that several servers can be at it at the same time.

    An error in any step ends the server. Until ``hand_over``, so does the end of this object: an interrupt may come
    while no handler knows it.
    """

    def __init__(self, entry: Entry, link: ServerLink, recipe: Mapping[str, Any], *, announces: bool = True) -> None:
        """Take the server over, and send what it needs to start.

        ``announces``: after QUIET_S of waiting, log what is waited for.

        Raises:
            ServerStartError: it has ended already, or takes nothing in time.
            CannotCross: the recipe has no form on the wire.
        """
        # First: an interrupt of any later line must not leave the server.
        self._finalizer = weakref.finalize(self, link.close, 0.0)
        self._finalizer.atexit = False  # the guardian ends it then
        self.recipe = recipe
        self._entry = entry
        self._link = link
        self._deadline = link.started_at + entry.timeouts.start
        self._announce_at = min(link.started_at + QUIET_S, self._deadline) if announces else self._deadline
        self._connection: Connection | None = None
        self._process_id = os.getpid()
        with self._errors_explained():
            self._encoded = encode(("$", recipe))
            self._wait_in_steps(link.begin, "start")

    @property
    def connection(self) -> Connection:
        """The connection to the server. Only after ``request_env``."""
        assert self._connection, "the server is not up yet"
        return self._connection

    def request_env(self) -> None:
        """Wait until the server is up, then ask it for the env.

        Raises:
            ServerStartError: the server did not come up, or not in time.
            ConfigError: ``frames = "jpeg"`` needs Pillow, and this process has none.
        """
        with self._errors_explained():
            self._wait_in_steps(self._link.wait_until_up, "start")
            end = self._link.take_stream()
            self._readable = select.poll()
            self._readable.register(end.fileno(), select.POLLIN)
            connection = Connection(_channel_over(end), self._link)
            # It is told of later forks. A child of an earlier one has an open copy.
            if self._process_id != os.getpid():
                connection.leave_to_parent()
                raise error_mapping.forked(self._process_id)
            self._connection = connection
            self._connection.bound_bytes = self._entry.max_message_mib * 2**20
            self._connection.arrays = ArrayMaker(self._entry.arrays)
            self._connection.allow_replies_of(self._connection.bound_bytes)
            memory = self._link.accept_memory()
            if memory:
                self._connection.share(arena.over_socket(memory, self._entry.arena_mib * 2**20))
            self._refuse_frames_without_pillow()
            self._connection.begin(messages.MAKE, self._encoded, self._deadline - time.monotonic())

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
            imports = "".join(f"import {module} and " for module in self._entry.imports)
            self._wait_in_steps(self._wait_for_answer, f"{imports}make {self._entry.id!r}")
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
            self._link.env_is_made()
            self.connection.warn(self._link.start_warning())
        return description

    def hand_over(self) -> None:
        """The connection has another owner from here on."""
        self._finalizer.detach()

    def close(self, ask_s: float = 0.0) -> None:
        """End the server, any number of times; give a server that is up ``ask_s`` seconds to close its env."""
        if self._connection:
            self._connection.close(ask_s)
        else:
            self._link.close(0.0)

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

    def _wait_in_steps(self, step: Callable[[float], bool], what: str) -> None:
        """Wait for a step of the start. Logs what is waited for, once it takes long. Raises ServerStartError."""
        if self._announce_at < self._deadline:
            if step(self._announce_at):
                return
            self._announce_at = self._deadline
            log(f"waiting for the server of {self._entry.name!r} to {what} ({self._link.place})")
        if not step(self._deadline):
            tail, state = self._link.tail(), self._link.diagnose()
            self.close()
            raise self._late(*state, tail)

    def _wait_for_answer(self, deadline: float) -> bool:
        """Wait until the server has sent something; at the end of all time the connection does so itself."""
        wait_s = min(max(deadline - time.monotonic(), 0.0), LONGEST_WAIT_S)
        return deadline == self._deadline or bool(self._readable.poll(wait_s * 1000))

    def _late(self, state: str, stack: str, tail: str) -> GymServiceError:
        reason = late_start_reason(self._entry.timeouts.start, state, stack)
        return self._link.start_error(reason, LATE_ADVICE, probe=False, tail=tail)

    def _died(self, failure: ServerStartError) -> ServerStartError:
        """The error of a server that ended while it started, with the cause that its last words show."""
        found = explain(failure, self._entry, self.recipe["kwargs"])
        return type(failure)(found.added_to(str(failure)), **vars(failure)) if found else failure

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Turn an error of the block into the one that tells why there is no env. The server is ended then."""
        try:
            yield
        except (ServerCrashed, ConnectionLost) as error:
            raise self._died(self._link.start_error()) from error
        except CallTimeout as error:
            raise self._late(error.state, error.stack, error.tail) from error
        except EnvError as error:
            self.connection.close(self._entry.timeouts.close)
            raise _explained(error, self._entry, self._link, self.recipe) from error.__cause__
        except BaseException:
            self.close()
            raise


def _frames_of(description: Any) -> Any:
    """The frames that a description names. Older servers, which cannot code frames, name none."""
    target = description.get("target") if type(description) is dict else None
    return target.get("frames", image_codec.RAW) if type(target) is dict else image_codec.RAW


def _channel_over(end: StreamEnd) -> channel.Channel:
    match end:
        case TlsEnd():
            from gym_service.client.tls_stream import TlsStream  # imports ssl

            return channel.Channel(TlsStream(end.sock))
        case SocketEnd():
            return channel.over_socket(end.sock)
        case PipeEnds():
            return channel.over_pipes(*end.detach())


def _explained(error: EnvError, entry: Entry, link: ServerLink, recipe: Mapping[str, Any]) -> GymServiceError:
    """The error with its cause and what to try. An import that failed in the target is a failed start."""
    if isinstance(error, EOFError) and "when reading a line" in error.message:
        return _unanswered(error, entry, link)
    explanation = explain(error, entry, recipe["kwargs"], recipe.get("batch", {}).get("num_envs", 1))
    if isinstance(error, ImportError):
        return _import_failed(error, entry, link, explanation)
    if explanation:
        return type(error)(explanation.added_to(str(error)), **vars(error))
    if isinstance(error, UnregisteredEnv):
        text = f'{error}\n  try: imports = ["…"] with the module that registers it, or another id'
        return type(error)(text, **vars(error))
    return error


def explain(
    error: EnvError | ServerCrashed | ServerStartError, entry: Entry, kwargs: Mapping[str, Any], num_envs: int = 1
) -> Explanation | None:
    """What is known about an error of the simulator, or about its last words. May survey the target.

    Blocks as ``causes.explain``.
    """
    from gym_service_launcher.interpreters import causes  # only failures need it

    if isinstance(error, EnvError):
        said = (error.type_name, error.message, error.remote_traceback)
    else:
        last_words = error.tail.strip().splitlines()[-LAST_WORDS_LINES:]
        said = (type(error).__name__, "\n".join(last_words), "")
    return causes.explain(Evidence(entry, *said, kwargs, num_envs))


def _import_failed(error: EnvError, entry: Entry, link: ServerLink, explanation: Explanation | None) -> ImportFailed:
    reason = f"{error.type_name}: {error.message}"
    if not any(f"'{module}'" in error.message for module in entry.imports):  # else the entry shows where it stands
        reason += "".join(f"\n    {line}" for line in error.remote_traceback.splitlines())
    usual = link.import_advice(is_missing=isinstance(error, ModuleNotFoundError))
    failure = link.start_error(reason, usual)
    text = explanation.added_to(str(failure)) if explanation else str(failure)
    return ImportFailed(text, **vars(failure))


def _unanswered(error: EnvError, entry: Entry, link: ServerLink) -> EnvError:
    """The error of a simulator that called ``input()``: standard input is empty in a server. Its output shows why."""
    text = f"{error.message}: the simulator of {entry.name!r} asks a question, and standard input is empty in a server"
    text += f"\n  interpreter: {link.place}{output_block(link.tail())}"
    text += f"\n  raised in the simulator as {error.type_name}\n{error.remote_traceback}".rstrip("\n")
    question = next((line.strip() for line in reversed(link.tail().splitlines()) if line.strip()), "")
    cause = "the simulator asks a question while it starts, and nobody can answer it in a server"
    command = link.import_command()
    advice = f"answer it once by hand{f': {command}' if command else ', where that server runs'}"
    shown = f"{cause}: {question!r}" if question else cause
    return type(error)(Explanation("question", shown, advice).added_to(text), **vars(error))
