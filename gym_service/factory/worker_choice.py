"""Chooses the number of workers of a vector env: ``workers = "auto"``.

Knows how to step vector envs, and how their time depends on the number of workers. Never knows how they are started:
``open_env.py`` does. Python 3.10 and up, Gymnasium 1.0 and up.

Two envs of the entry are made, reset and stepped with random actions, then closed: first in one worker, which shows the
time of one env's step, and then, unless that is so short that a second worker cannot pay, in two workers. The envs that
the user gets are made after that, and no number in them depends on it.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
from gym_service_launcher.config.entry import Entry
from gymnasium.vector.utils import batch_space

from gym_service.client.vector import RemoteVectorEnv, shares_of
from gym_service.errors import EnvError, GymServiceError
from gym_service.factory import per_env
from gym_service.factory.open_env import open_vector_env
from gym_service.factory.progress import log

PROBE_ENVS = 2
# Each measurement takes so many steps at least, and so many seconds unless those take longer.
LEAST_STEPS, MEASURED_S = 4, 0.3
# More workers must save this share of a step, since each one needs memory.
LEAST_SAVED = 0.05
# Of the calls; and of batching and sampling an action space. A class of the simulator's own cannot be sampled here, and
# numpy cannot sample between the limits of float64.
_FAILURES = (GymServiceError, gymnasium.error.Error, NotImplementedError, TypeError, ValueError, ArithmeticError)


@dataclass(frozen=True)
class Costs:
    """The parts of a step of the whole vector env, in seconds."""

    env_s: float  # the step of one env
    call_s: float  # what a call to one worker costs beside its envs' steps
    worker_s: float  # what each further worker costs, although all work at the same time


def choose_workers(entry: Entry, kwargs: Mapping[str, Any], num_envs: int) -> int:
    """The number of workers, measured. Logs the number and the reason.

    Blocks for up to two starts of the simulator, and for the steps: about a second, or twenty steps of one env if those
    take longer. Each step has the entry's timeout.

    Args:
        entry: the entry of the envs.
        kwargs: keywords for the simulator's env.
        num_envs: the number of envs.

    Raises:
        ValueError: ``num_envs`` is no number of envs.
        Otherwise as ``open_vector_env``, if the first two envs cannot be made. If anything fails after that, such as a
        step or the sampling of an action, this is no error: the number is one.
    """
    shares_of(num_envs, 1)
    if any(per_env.differs(value) for value in entry.environ.values()):
        return _chosen(num_envs, "environ differs between the envs")
    if num_envs == 1:
        return 1
    probe = _open_probe(entry, kwargs, 1)
    try:
        with closing(probe) as envs:
            processors = min(num_envs, *[target["processors"] for target in envs.targets])
            one_s, two_s = _measure(envs, [[0], [0, 1]])
        env_s, call_s = max(two_s - one_s, 0.0), max(2 * one_s - two_s, 0.0)
        saved_s = (num_envs - -(-num_envs // processors)) * env_s
        if processors == 1:
            return _chosen(1, "the simulator may use one processor")
        if saved_s <= call_s:  # a further worker costs a call at least
            return _chosen(1, f"a step of one env takes {_text(env_s)}, a call {_text(call_s)}")
        with closing(_open_probe(entry, kwargs, 2)) as envs:
            (both_s,) = _measure(envs, [[0, 1]])
    except _FAILURES as error:
        return _chosen(1, f"the measurement failed: {_reason(error)}")
    costs = Costs(env_s, call_s, max(both_s - one_s, 0.0))
    workers = best(costs, num_envs, processors)
    times = ", ".join(f"{_text(predicted_s(costs, num_envs, each))} with {each}" for each in sorted({1, 2, workers}))
    text = f"a step of one env takes {_text(env_s)}; of all {num_envs}, expected, {times}"
    return _chosen(workers, f"{text} ({processors} processors)")


def predicted_s(costs: Costs, num_envs: int, workers: int) -> float:
    """How long a step of all envs takes. The worker with the most envs decides."""
    return costs.call_s + -(-num_envs // workers) * costs.env_s + (workers - 1) * costs.worker_s


def best(costs: Costs, num_envs: int, processors: int) -> int:
    """The least number of workers whose step is not much longer than the shortest."""
    found = 1
    for workers in range(2, min(num_envs, processors) + 1):
        if predicted_s(costs, num_envs, workers) < (1 - LEAST_SAVED) * predicted_s(costs, num_envs, found):
            found = workers
    return found


def _open_probe(entry: Entry, kwargs: Mapping[str, Any], workers: int) -> RemoteVectorEnv:
    given: dict[str, Any] = {"num_envs": PROBE_ENVS, "workers": workers, "autoreset_mode": "NextStep"}
    return open_vector_env(entry, kwargs, recreate=partial(_open_probe, entry, kwargs, workers), **given)


def _measure(envs: RemoteVectorEnv, groups: Sequence[Sequence[int]]) -> list[float]:
    """The median time of a step of each group of envs, in turn."""
    spaces = {len(group): batch_space(envs.single_action_space, len(group)) for group in groups}
    for space in spaces.values():
        space.seed(0)
    envs.reset(seed=0)
    for group in groups:  # the first steps may load what later ones have
        _time_of_step(envs, group, spaces[len(group)])
    times: list[list[float]] = [[] for _ in groups]
    end = time.perf_counter() + MEASURED_S * len(groups)
    while len(times[0]) < LEAST_STEPS or time.perf_counter() < end:
        for group, taken in zip(groups, times, strict=True):
            taken.append(_time_of_step(envs, group, spaces[len(group)]))
    return [statistics.median(taken) for taken in times]


def _time_of_step(envs: RemoteVectorEnv, group: Sequence[int], space: Any) -> float:
    actions = space.sample()
    begun = time.perf_counter()
    envs.send(actions, group)
    envs.recv(len(group))
    return time.perf_counter() - begun


def _chosen(workers: int, reason: str) -> int:
    log(f'workers = "auto" is {workers} here: {reason}')
    return workers


def _reason(error: Exception) -> str:
    """One line: the simulator's exception, or what happened on this side."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, EnvError):
        name, text = error.type_name, error.message
    return f"{name}: {text.strip().partition(chr(10))[0]}"


def _text(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
