"""Q-learning from a replay buffer, with the envs that are ready first: no env waits for the slowest one.

    python examples/first_ready_learner.py --python ./sim_env                  # a venv with gym or gymnasium in it
    python examples/first_ready_learner.py --python ./sim_env --num-envs 16 --workers 8 --transitions 100000

An off-policy learner does not need the envs to be in the same step: it needs transitions. Here FrozenLake, whose
observations are numbers, so a table is enough. Prints how often the goal was reached early and late, and exits with 1
if nothing was learned.
"""

import argparse
import random
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import gym_service


class Transition(NamedTuple):
    state: int
    action: int
    reward: float
    next_state: int
    is_final: bool


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="the simulator's interpreter: a venv, a version, conda:NAME")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--transitions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(words)


class Learner:
    """Keeps the last transitions, and learns from some of them, chosen at random."""

    def __init__(self, states: int, actions: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.table = np.zeros((states, actions))
        self._chosen = random.Random(seed)
        self._replay: deque[Transition] = deque(maxlen=10_000)

    def act(self, states: Any, epsilon: float) -> Any:
        """The best known action of each state, or with the probability ``epsilon`` any."""
        best = np.argmax(self.table[states] + 1e-6 * self.random.random((len(states), self.table.shape[1])), axis=1)
        others = self.random.integers(self.table.shape[1], size=len(states))
        return np.where(self.random.random(len(states)) < epsilon, others, best)

    def learn(self, new: Sequence[Transition], gamma: float = 0.97, rate: float = 0.2) -> None:
        self._replay.extend(new)
        for each in self._chosen.choices(self._replay, k=4 * len(new)):
            later = 0.0 if each.is_final else gamma * self.table[each.next_state].max()
            self.table[each.state, each.action] += rate * (each.reward + later - self.table[each.state, each.action])


def play(envs: gym_service.RemoteVectorEnv, learner: Learner, transitions: int) -> list[float]:
    """The return of each episode, in the order in which they ended."""
    last: dict[int, tuple[int, int]] = {}  # of each env in an episode: its state, and the action that was sent
    returns: list[float] = []
    made = 0
    envs.reset_async(seed=1)
    while made < transitions:
        states, rewards, terminations, truncations, _, env_ids = envs.recv()  # those that are ready, at least one
        new = []
        for env_id, state, reward, terminated, truncated in zip(
            env_ids.tolist(), states, rewards, terminations, truncations, strict=True
        ):
            if env_id in last:
                new.append(Transition(*last.pop(env_id), float(reward), int(state), bool(terminated)))
            if terminated or truncated:
                returns.append(float(reward))
        actions = learner.act(states, epsilon=max(0.1, 1 - 2 * made / transitions))
        envs.send(actions, env_ids)  # first, so that they step while this process learns
        # With autoreset "NextStep" the step after the end of an episode is its reset, and no transition.
        for index in np.flatnonzero(~(terminations | truncations)):
            last[int(env_ids[index])] = int(states[index]), int(actions[index])
        if new:
            learner.learn(new)
        made += len(new)
    return returns


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    given = {"kwargs": {"is_slippery": False}, "python": options.python, "workers": options.workers}
    envs = gym_service.make_vec("FrozenLake-v1", options.num_envs, **given)
    try:
        learner = Learner(16, 4, options.seed)
        returns = play(envs, learner, options.transitions)
    finally:
        envs.close()
    part = max(1, len(returns) // 5)
    early, late = np.mean(returns[:part]), np.mean(returns[-part:])
    print(f"{len(returns)} episodes; the goal was reached in {early:.0%} of the first fifth, {late:.0%} of the last")
    return 0 if late > early + 0.2 else 1


if __name__ == "__main__":
    sys.exit(main())
