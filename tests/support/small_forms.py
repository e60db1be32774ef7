"""The forms of env in tests/fixture_envs/small_steps.py, opened through gym-service, and one step of each.

Knows that file and gym_service. Python 3.10 and up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import gym_service
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

NUM_ENVS = 3


class Form(NamedTuple):
    """A form of env.

    ``step`` takes a number, and returns the number of the step and the action that it answers. ``action`` makes the
    action of a number, for ``step_async``; None if the form has no halves.
    """

    make: Callable[..., Any]
    step: Callable[[Any, int], tuple[Any, Any]]
    attribute: Callable[[Any, str], Any]
    action: Callable[[int], Any] | None


def single(env: Any, number: Any) -> tuple[Any, Any]:
    observation, *rest = env.step(number)
    assert rest == [0.5, False, False, {}]
    return observation.tolist()


def single_with_info(env: Any, number: Any) -> tuple[Any, Any]:
    observation, *rest, info = env.step(number)
    assert rest == [0.5, False, False]
    assert repr(info) == repr({"count": int(observation[0]), "action": {"half": number / 2, "is": np.int64(number)}})
    return observation.tolist()


def large(env: Any, number: Any) -> tuple[Any, Any]:
    observation, *rest = env.step(number)
    assert rest == [0.5, False, False, {}]
    assert (observation == observation[:, :1]).all()
    return observation[:, 0].tolist()


def single_of_arrays(env: Any, number: int) -> tuple[Any, Any]:
    return single(env, array_of(number))


def batch(envs: Any, number: int) -> tuple[Any, Any]:
    observations, rewards, terminations, truncations, infos = envs.step(repeated(number))
    assert (rewards.tolist(), infos) == ([0.5] * NUM_ENVS, {})
    assert not (terminations | truncations).any()
    (found,) = {tuple(row) for row in observations.tolist()}
    return found


def team(env: Any, number: int) -> tuple[Any, Any]:
    observations, rewards, *ended, infos = env.step(dict.fromkeys(env.possible_agents, number))
    assert rewards == dict.fromkeys(env.possible_agents, 0.5)
    assert ended == [dict.fromkeys(env.possible_agents, False)] * 2
    assert infos == {agent: {} for agent in env.possible_agents}
    (found,) = {tuple(observation.tolist()) for observation in observations.values()}
    return found


def array_of(number: int) -> Any:
    """An action that does not fit its space, so it travels in the general form."""
    return np.array(number, np.int32)


def repeated(number: int) -> Any:
    return np.full(NUM_ENVS, number)


FORMS = {
    "SmallEnv": Form(gym_service.make, single, getattr, lambda number: number),
    "SmallEnv with arrays": Form(gym_service.make, single_of_arrays, getattr, array_of),
    "InfoEnv": Form(gym_service.make, single_with_info, getattr, lambda number: number),
    "LargeEnv": Form(gym_service.make, large, getattr, lambda number: number),
    "SmallEnv of a vector env": Form(
        lambda env_id, **given: gym_service.make_vec(env_id, NUM_ENVS, workers=1, **given),
        batch,
        lambda envs, name: envs.get_attr(name)[0],
        repeated,
    ),
    "SmallVectorEnv": Form(gym_service.make, batch, getattr, repeated),
    "SmallTeam": Form(gym_service.make_parallel, team, getattr, None),
}


@contextmanager
def made(name: str, **given: Any) -> Iterator[tuple[Any, Callable[[int], tuple[Any, Any]]]]:
    """An env after a reset and two steps, and its step."""
    form = FORMS[name]
    keys = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)]}
    env = form.make(name, entry_point=f"small_steps:{name.partition(' ')[0]}", **keys, **given)
    try:
        env.reset()
        for number in (1, 2):
            assert tuple(form.step(env, number)) == (number, number)
        yield env, lambda number: form.step(env, number)
    finally:
        env.close()
