"""Two halves of the envs in flight: one half steps while the policy chooses actions for the other.

    python examples/halves_in_flight.py --python ./sim_env                    # a venv with gym or gymnasium in it
    python examples/halves_in_flight.py --python ./sim_env --num-envs 16 --workers 4 --policy-ms 5

Prints env steps per second twice: with ``step``, where policy and simulators wait for each other, and with two halves
in flight. The envs of a worker are neighbours, so each half has its own workers where their number is even.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gym_service

Policy = Callable[[Any, int], Any]  # observations and their number in, batched actions out


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="the simulator's interpreter: a venv, a version, conda:NAME")
    parser.add_argument("--env-id", default="CartPole-v1")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200, help="of each env")
    parser.add_argument("--policy-ms", type=float, default=2.0, help="how long the policy takes for half of the envs")
    return parser.parse_args(words)


def slow_policy(space: Any, ms_per_env: float) -> Policy:
    """Takes as long as a network on another device would, and chooses at random."""

    def act(observations: Any, count: int) -> Any:
        time.sleep(ms_per_env * count / 1000)
        return np.stack([space.sample() for _ in range(count)])

    return act


def step_all(envs: gym_service.RemoteVectorEnv, policy: Policy, steps: int) -> float:
    """Rewards of so many steps of each env, where each side waits for the other."""
    observations, _ = envs.reset(seed=1)
    total = 0.0
    for _ in range(steps):
        observations, rewards, *_ = envs.step(policy(observations, envs.num_envs))
        total += rewards.sum()
    return total


def step_halves(envs: gym_service.RemoteVectorEnv, policy: Policy, steps: int) -> float:
    """The same, where one half of the envs steps while the policy looks at the other."""
    half = max(1, envs.num_envs // 2)
    envs.reset_async(seed=1)
    left = np.full(envs.num_envs, steps)
    total = 0.0
    while envs.in_flight:
        count = min(half, len(envs.in_flight))
        observations, rewards, *_, env_ids = envs.recv(min_envs=count, max_envs=half)
        total += rewards.sum()  # 0 for what reset_async has begun
        actions = policy(observations, len(env_ids))
        going_on = left[env_ids] > 0
        left[env_ids] -= 1
        if going_on.any():
            envs.send(actions[going_on], env_ids[going_on])
    return total


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    envs = gym_service.make_vec(options.env_id, options.num_envs, python=options.python, workers=options.workers)
    try:
        policy = slow_policy(envs.single_action_space, options.policy_ms / (options.num_envs / 2))
        for name, play in (("step", step_all), ("halves in flight", step_halves)):
            begun = time.perf_counter()
            total = play(envs, policy, options.steps)
            rate = options.num_envs * options.steps / (time.perf_counter() - begun)
            print(f"{name}: {rate:.0f} env steps/s, {total:.0f} of reward")
    finally:
        envs.close()


if __name__ == "__main__":
    main()
