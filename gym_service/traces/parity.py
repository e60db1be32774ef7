"""The parity hash: one line that says what a simulator gives in a short, seeded play.

Knows an open env, digests and fixed actions. Never knows where the env came from. Python 3.10 and up.

``gym-service lock`` keeps it beside the exact versions of an entry. The same hash means the same values in the same
types: the play is that of ``record_trace``, and the hash is the digest that a trace of it would end with.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import gymnasium
import numpy as np

from gym_service.client.env import RemoteEnv
from gym_service.errors import ApiMismatch, EnvError
from gym_service.protocol.value_digest import RollingDigest
from gym_service.traces.actions import fixed_actions
from gym_service.traces.recorder import results_of

PARITY_SEED = 1
# Long enough that contacts and generators have had their say; some 0.1 s of a slow simulator without pictures.
PARITY_STEPS = 100
# Part of every parity hash. It moves whenever the play or the digest changes.
PREFIX = "play1:"


class NotSeeded(Exception):
    """No two plays of the env can be compared, because it cannot be reset with a seed; the text says why."""


def parity_hash(env: gymnasium.Env[Any, Any], *, seed: int = PARITY_SEED, steps: int = PARITY_STEPS) -> str:
    """Play an env that was just made, and return the hash of everything that came back.

    Episode k begins with ``reset(seed=seed + k)``; actions are the ``fixed_actions`` of the action space, which are the
    same for every client. What the simulator raises after the first reset is part of the play and ends it. Blocks until
    ``steps`` steps are made.

    Args:
        env: an env of gym-service, fresh: what was done with it before would change the play.
        seed: of the first episode, and of the actions.
        steps: how many.

    Returns:
        ``play1:`` and 64 hex digits. Compare it as a whole.

    Raises:
        NoFixedActions: the action space is of a kind that has none (Text, Sequence, Graph, OneOf, one of the
            simulator's own).
        NotSeeded: the env can be reset without a seed only.
        EnvError: the first reset raises, and not because of the seed.
        GymServiceError: the server died, was late, or gave what cannot cross.
    """
    digest = RollingDigest()
    actions: Iterator[Any] = fixed_actions(env.action_space, seed)
    actions = chain([next(actions)], actions)  # a space without fixed actions is refused before anything is played
    first = _first_reset(env, seed)
    try:
        _play(env, digest, first, actions, seed, steps)
    except EnvError as error:
        digest.add(b"raised", (f"{error.type_name}: {error.message}",))
    return PREFIX + digest.value.hex()


def deterministic_parity_hash(
    make: Callable[[], RemoteEnv], *, seed: int = PARITY_SEED, steps: int = PARITY_STEPS
) -> str | None:
    """The parity hash of an entry; None where two plays in two fresh processes differ, so that none can be kept.

    Args:
        make: makes the env, each time in a server of its own. It is called twice, and each env is closed.
        seed: see ``parity_hash``.
        steps: see ``parity_hash``.

    Raises as ``parity_hash`` and as ``make``.
    """
    found = set()
    for _ in range(2):
        env = make()
        try:
            found.add(parity_hash(env, seed=seed, steps=steps))
        finally:
            env.close()
    return found.pop() if len(found) == 1 else None


def is_true(flag: Any) -> bool:
    """Whether a flag says that the episode is over; an array of several flags where any of them does."""
    return bool(np.any(flag)) if isinstance(flag, np.ndarray) else bool(flag)


def _first_reset(env: gymnasium.Env[Any, Any], seed: int) -> Any:
    try:
        return env.reset(seed=seed)
    except ApiMismatch as error:
        env.reset()  # what raises without a seed too has another fault
        raise NotSeeded(error.message.partition("\n")[0]) from error
    except EnvError as error:
        if not _raises_with_seed_only(env, seed):
            raise
        raise NotSeeded(f"reset(seed={seed}) raises {error.type_name}, and reset() does not") from error


def _raises_with_seed_only(env: gymnasium.Env[Any, Any], seed: int) -> bool:
    """Whether reset() works, and reset(seed) raises again: a fault that passes is none of the seed."""
    try:
        env.reset()
    except EnvError:
        return False
    try:
        env.reset(seed=seed)
    except EnvError:
        return True
    return False


def _play(
    env: gymnasium.Env[Any, Any], digest: RollingDigest, first: Any, actions: Iterator[Any], seed: int, steps: int
) -> None:
    """Add what the first reset returned, and the results of the steps and of the other resets."""
    digest.add(b"reset", results_of("reset", first))
    episode, over = 1, False
    for _ in range(steps):
        if over:
            digest.add(b"reset", results_of("reset", env.reset(seed=seed + episode)))
            episode += 1
        result = results_of("step", env.step(next(actions)))
        digest.add(b"step", result)
        over = len(result) == 5 and any(is_true(flag) for flag in result[2:4])
