"""The play that envs.lock has for an entry, and how a new play compares with it.

Knows the parity hash as a text. Never knows how it is computed, or where a result is shown. Python 3.10 and up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gym_service.client.env import RemoteEnv


class Comparison(NamedTuple):
    """Whether the play is the locked one, in words; where it differs, the cause and what to try."""

    outcome: Literal["passed", "failed", "skipped"]
    text: str
    cause: str = ""
    advice: str = ""


@dataclass(frozen=True)
class LockedPlay:
    """The parity hash of envs.lock for an entry as it is today, or ``no_hash``, which says why there is none.

    ``compute`` plays a new env, and returns its hash, or None and why it has none. Raises GymServiceError.
    """

    hash: str | None
    no_hash: str
    compute: Callable[[RemoteEnv], tuple[str | None, str]]

    def compare(self, make: Callable[[], RemoteEnv]) -> Comparison:
        """Play an env that ``make`` makes, if there is a hash to compare with. Raises GymServiceError."""
        if self.hash is None:
            return Comparison("skipped", f"not compared: envs.lock has no parity hash: {self.no_hash}")
        env = make()
        try:
            found, why = self.compute(env)
        finally:
            env.close()
        if found == self.hash:
            return Comparison("passed", "the play is the one of envs.lock")
        if found is None:
            text = f"the play has no parity hash: {why}; envs.lock has {self.hash[:18]}…"
            return Comparison("failed", text, "envs.lock has a hash that cannot be compared", "gym-service lock")
        text = f"the play is {found[:18]}…, envs.lock has {self.hash[:18]}…"
        cause = "what the simulator computes has changed since gym-service lock"
        advice = "gym-service sync --locked, which says which versions differ; or gym-service lock"
        return Comparison("failed", text, cause, advice)
