"""One call of a contender: a step with the next of some fixed actions, or the reset that is due after an episode.

Knows Gymnasium's two APIs. Never imports gym_service. Python 3.10 and up.

A call is what AsyncVectorEnv makes of it by default (AutoresetMode.NEXT_STEP): after the last step of an episode comes
a reset, without a step. So every contender does the same work in the same order, and gives the same observations.
"""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.interleaved import Step

# So many are sampled beforehand: no contender pays for its actions.
ACTIONS = 64
SEED = 0


def stepping(env: gym.Env[Any, Any]) -> Step:
    """A function that makes the next call on a single env, and gives the observation."""
    env.reset(seed=SEED)
    actions = actions_of(env.action_space)
    is_over = False

    def step() -> Any:
        nonlocal is_over
        action = next(actions)  # of no use to a reset; but a vector env is given one
        if is_over:
            is_over = False
            return env.reset()[0]
        observation, _, terminated, truncated, _ = env.step(action)
        is_over = terminated or truncated
        return observation

    return step


def stepping_vector(envs: Any) -> Step:
    """The same on a vector env, which resets its envs itself; gives the batch of observations."""
    envs.reset(seed=SEED)
    actions = batches_of(envs.single_action_space, envs.num_envs)
    return lambda: envs.step(next(actions))[0]


def actions_of(space: gym.Space[Any]) -> Iterator[Any]:
    """The same actions, over and over, for the same space."""
    return cycle(_sampled(space, ACTIONS))


def batches_of(space: gym.Space[Any], num_envs: int) -> Iterator[np.ndarray]:
    """The same for so many envs at once: of a batch of one, those of a single env."""
    sampled = _sampled(space, ACTIONS * num_envs)
    return cycle([np.array(sampled[begin : begin + num_envs]) for begin in range(0, len(sampled), num_envs)])


def _sampled(space: gym.Space[Any], count: int) -> list[Any]:
    space.seed(SEED)
    return [space.sample() for _ in range(count)]
