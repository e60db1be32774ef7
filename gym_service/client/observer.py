"""Observes the calls of one env where they leave the client: below every wrapper.

Knows calls and their results. Never knows what an observer does with them (``gym_service/traces`` records them).
Python 3.10 and up.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from gymnasium.spaces import GraphInstance

from gym_service.client.connection import Connection, SpacesChanged
from gym_service.protocol import messages
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import Frame
from gym_service.protocol.values import flat_bytes

# The calls that change the simulator or show its state. GET and HAS only read.
OBSERVED = frozenset(
    {messages.RESET, messages.STEP, messages.RENDER, messages.SET, messages.CALL, messages.CALL_FUNCTION}
)


class CallObserver(Protocol):
    """Receives each call of one env, in the order in which the simulator carries them out.

    Its methods run inside the call and must not raise, because an exception there closes the connection.
    """

    def step_sent(self, arguments: tuple[Any, ...]) -> None:
        """A step has been sent. Its arguments are the caller's: copy what is to be kept."""

    def step_answered(self, result: Any) -> None:
        """The step has its result, a tuple of five or another value. The caller gets it next and may change it."""

    def answered(self, kind: int, arguments: tuple[Any, ...], result: Any) -> None:
        """Any other call has its result. That of RESET is a tuple of two or another value."""

    def failed(self, kind: int, arguments: tuple[Any, ...], error: BaseException) -> None:
        """A call has failed, sent or not. ``arguments`` is empty for a step."""

    def restarted(self) -> None:
        """Another server has made the env again, because the last one failed."""

    def closed(self) -> None:
        """The env is closed. May come more than once."""


class Observable(Protocol):
    """The part of a RemoteEnv that observers need."""

    _observer: CallObserver | None

    def _report_to(self, observer: CallObserver) -> None:
        """Report every call to the observer from now on."""


def observe(env: Observable, observer: CallObserver) -> None:
    """Give an observer every call that the env makes from now on. Raises ValueError if the env has an observer."""
    if env._observer is not None:
        raise ValueError("this env is observed already")
    env._report_to(observer)


def observed_call(
    connection: Connection,
    observer: CallObserver,
    kind: int,
    arguments: Encoder,
    limit_s: float,
    read: Callable[[Frame], Any],
) -> Any:
    """Make a call and report it to the observer. Blocks and raises as ``Connection.call``."""
    values = arguments_of(arguments)
    try:
        return connection.call(kind, arguments, limit_s, read, partial(observer.answered, kind, values))
    except BaseException as error:
        observer.failed(kind, values, error)
        raise


def observed_step(
    connection: Connection,
    observer: CallObserver,
    kind: int,
    arguments: Packed,
    given: tuple[Any, ...],
    limit_s: float,
    read: Callable[[Frame], Any],
    changes: int,
) -> Any:
    """Make a step and report it to the observer. Blocks and raises as ``Connection.call``."""
    try:
        sent = partial(observer.step_sent, given)
        return connection.call(kind, arguments, limit_s, read, observer.step_answered, sent, changes)
    except SpacesChanged:
        raise
    except BaseException as error:
        observer.failed(messages.STEP, (), error)
        raise


def arguments_of(packed: Packed) -> tuple[Any, ...]:
    """The values of a call's fields. Large arrays among them are the caller's own memory."""
    decoder = ValueDecoder(packed.head, [flat_bytes(buffer) for buffer in packed.buffers], GraphInstance)
    values = []
    while decoder.has_more():
        values.append(decoder.read())
    return tuple(values)
