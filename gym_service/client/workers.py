"""The servers of one vector env: a call to all of them is begun everywhere before any answer is waited for.

Knows connections and which of their errors is the end of all. Never knows an observation. Python 3.10 and up.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gym_service.client.connection import Connection
from gym_service.protocol import messages
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import Frame

T = TypeVar("T")


class Workers:
    """Connections that are called together. Where one of them fails for good, all of them are closed."""

    def __init__(self, connections: Sequence[Connection], limits_s: Mapping[str, float]) -> None:
        self._connections = connections
        self._limits_s = limits_s

    def begin(self, calls: Sequence[tuple[int, Packed]]) -> None:
        """Send each worker its call. Blocks and raises as ``Connection.begin``; then nothing is under way."""
        begun: list[Connection] = []
        try:
            for connection, (kind, arguments) in zip(self._connections, calls, strict=True):
                connection.begin(kind, arguments, self._limits_s[messages.CALL_NAMES[kind]])
                begun.append(connection)
        except BaseException as error:
            if not self._closed_after(error):
                self._answers(begun, [_any_answer] * len(begun))
            raise

    def finish(self, reads: Sequence[Callable[[Frame], T]]) -> list[T]:
        """The answer of each worker, in order.

        Blocks and raises as ``Connection.finish``. Where a simulator has raised, the other workers' answers are read
        and dropped; of several errors the first worker's is raised.
        """
        answers, errors = self._answers(self._connections, reads)
        if errors:
            raise errors[0]
        return answers

    def call(self, calls: Sequence[tuple[int, Packed]], read: Callable[[Frame], T]) -> list[T]:
        """``begin`` and ``finish``."""
        self.begin(calls)
        return self.finish([read] * len(calls))

    def close(self, ask_s: float, reason: str = "it was closed with close()") -> None:
        """Close each; any number of times. Blocks for at most a few seconds more than ``ask_s`` for each of them."""
        for connection in self._connections:
            connection.close(ask_s, reason)

    def _answers(
        self, connections: Sequence[Connection], reads: Sequence[Callable[[Frame], T]]
    ) -> tuple[list[T], list[Exception]]:
        answers: list[T] = []
        errors: list[Exception] = []
        for connection, read in zip(connections, reads, strict=True):
            try:
                answers.append(connection.finish(read))
            except BaseException as error:
                if self._closed_after(error) or not isinstance(error, Exception):
                    raise
                errors.append(error)
        return answers, errors

    def _closed_after(self, error: BaseException) -> bool:
        """Close all where one has failed, or where an interrupt has left it unknown what the others still say."""
        failure = next((connection.failure for connection in self._connections if connection.failure), "")
        if not failure and isinstance(error, Exception):
            return False
        self.close(0.0, failure or f"{type(error).__name__} interrupted it")
        return True


def _any_answer(frame: Frame) -> list[Any]:
    return []
