"""The peer of a connection whose other end a test plays: there is no process.

Knows what a connection asks of its peer. Python 3.10 and up.
"""

from collections.abc import Iterator

from gym_service import errors


class GonePeer:
    """A peer that has ended, and of which nothing is known."""

    def __init__(self) -> None:
        self.calls = memoryview(bytearray(8)).cast("Q")

    def died(self, during: str) -> errors.GymServiceError:
        return errors.ServerCrashed("it is gone", during=during, exit_code=None, tail="")

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        return iter(())

    def tail(self) -> str:
        return ""

    def diagnose(self) -> tuple[str, str]:
        return "unknown", ""
