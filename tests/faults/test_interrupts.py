"""Ctrl-C at any moment of a call: the turn is free afterwards, and the connection is usable or closed."""

import contextlib
import random
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import pytest

from gym_service.client.connection import Connection, one
from gym_service.errors import ClosedError, GymServiceError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import frame_bytes
from gym_service.transport import channel
from gym_service.transport.streams import ChannelClosed


class Nobody:
    """A peer without a process."""

    calls = memoryview(bytearray(8)).cast("Q")

    def died(self, during: str) -> GymServiceError:
        return GymServiceError(f"died during {during}")

    def close(self, ask_s: float) -> None: ...

    def tail(self) -> str:
        return ""

    def diagnose(self) -> tuple[str, str]:
        return "unknown", ""


def answer_all(sock: socket.socket) -> None:
    """The server's side of a socket: None to every call."""
    served = channel.over_socket(sock)
    with contextlib.suppress(ChannelClosed):
        while True:
            frame = served.receive()
            served.send(frame_bytes(messages.RESULT, frame.call_id, Encoder().add(None).head))
    served.close()


@pytest.fixture
def interrupting() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("interrupting")
def test_an_interrupt_leaves_the_turn_free_and_nothing_pending() -> None:
    chosen = random.Random(3)
    usable = 0
    for _ in range(400):
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=answer_all, args=(theirs,))
        thread.start()
        connection = Connection(channel.over_socket(ours), Nobody())
        try:
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, chosen.uniform(1e-5, 2e-3))
                while True:
                    connection.call(messages.RENDER, Encoder(), 60.0, one)
            free: list[bool] = []
            other = threading.Thread(target=lambda: free.append(connection._turn.acquire(timeout=5)))  # noqa: B023
            other.start()
            other.join()
            assert free == [True]
            connection._turn = threading.RLock()
            connection._owned = connection._turn._is_owned  # type: ignore[attr-defined]
            with contextlib.suppress(ClosedError):
                connection.call(messages.RENDER, Encoder(), 60.0, one)
                usable += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.close(0.0)
            thread.join()
    assert usable < 400
