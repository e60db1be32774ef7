"""PPO in one file, in the manner of CleanRL, on a simulator in another interpreter.

    pip install gym-service torch
    python examples/ppo.py --python ./sim_env                    # a venv with gym or gymnasium in it; CartPole-v1
    python examples/ppo.py --entry PushT-v0 --workers 2          # an entry of envs.toml
    python examples/ppo.py --python ./sim_env --checkpoint run.pt --tensorboard runs       # pip install tensorboard
    python examples/ppo.py --python ./sim_env --checkpoint run.pt --resume --total-steps 60000

Nothing in it is special to gym-service except the lines that make the envs. For actions that are Discrete or a Box, and
observations that are a Box, Discrete, MultiBinary, or a Dict or Tuple of them. Prints the mean return as it learns, and
exits with 1 if the last returns are no better than the first.
"""

import argparse
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, Normal

import gym_service

Options = argparse.Namespace


def arguments() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--python", help="the simulator's interpreter: a venv, a version, conda:NAME")
    where.add_argument("--entry", help="an entry of envs.toml")
    parser.add_argument("--env-id", default="CartPole-v1", help="with --python: the id of the env there")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="processes that the envs are spread over")
    parser.add_argument("--total-steps", type=int, default=30_000, help="of all envs together")
    parser.add_argument("--rollout-steps", type=int, default=128, help="of each env between two updates")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--minibatches", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--clip", type=float, default=0.2)
    parser.add_argument("--entropy", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, help="write this file after each update")
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    parser.add_argument("--tensorboard", metavar="DIR", help="write the curves for TensorBoard")
    options = parser.parse_args()
    if options.resume and not options.checkpoint:
        parser.error("--resume needs --checkpoint")
    return options


def features(space: gym.Space, observations: Any, count: int) -> list[np.ndarray]:
    """A batch of observations as float32 matrices of ``count`` rows, one for each leaf of the space."""
    if isinstance(space, spaces.Dict):
        return [part for key, inner in space.items() for part in features(inner, observations[key], count)]
    if isinstance(space, spaces.Tuple):
        pairs = zip(space.spaces, observations, strict=True)
        return [part for inner, values in pairs for part in features(inner, values, count)]
    if isinstance(space, spaces.Discrete):
        return [np.eye(int(space.n), dtype=np.float32)[np.asarray(observations) - int(space.start)]]
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        return [np.asarray(observations, np.float32).reshape(count, -1)]
    raise SystemExit(f"this example knows no observations of {space}")


class Agent(nn.Module):
    """A small policy, and a value function beside it. Observations are normalised by their running mean and spread."""

    def __init__(self, size: int, actions: gym.Space) -> None:
        super().__init__()
        self.is_discrete = isinstance(actions, spaces.Discrete)
        if not self.is_discrete and not isinstance(actions, spaces.Box):
            raise SystemExit(f"this example knows no actions of {actions}")
        self.actor = self._layers(size, int(actions.n) if self.is_discrete else int(np.prod(actions.shape)), 0.01)
        self.critic = self._layers(size, 1, 1.0)
        self.log_spread = nn.Parameter(torch.zeros(1 if self.is_discrete else int(np.prod(actions.shape))))
        self.register_buffer("seen", torch.tensor(1e-4))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    @staticmethod
    def _layers(size_in: int, size_out: int, gain: float) -> nn.Sequential:
        layers = [nn.Linear(size_in, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, size_out)]
        for layer, of_layer in zip(layers[::2], (2**0.5, 2**0.5, gain), strict=True):
            nn.init.orthogonal_(layer.weight, of_layer)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def normalise(self, observations: torch.Tensor, learn: bool) -> torch.Tensor:
        if learn:
            count, total = len(observations), self.seen + len(observations)
            delta = observations.mean(0) - self.mean
            spread = self.variance * self.seen + observations.var(0, correction=0) * count
            self.variance = (spread + delta**2 * self.seen * count / total) / total
            self.mean, self.seen = self.mean + delta * count / total, total
        return ((observations - self.mean) / (self.variance + 1e-8).sqrt()).clamp(-10, 10)

    def policy(self, observations: torch.Tensor) -> Distribution:
        found = self.actor(observations)
        return Categorical(logits=found) if self.is_discrete else Independent(Normal(found, self.log_spread.exp()), 1)

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        return self.critic(observations).squeeze(-1)


class Rollout:
    """What the envs gave for some steps, and how good it was."""

    def __init__(self, steps: int, num_envs: int, size: int, action_shape: tuple[int, ...], kind: torch.dtype) -> None:
        self.observations = torch.zeros(steps, num_envs, size)
        self.actions = torch.zeros(steps, num_envs, *action_shape, dtype=kind)
        self.log_probs, self.rewards, self.ends, self.values = (torch.zeros(steps, num_envs) for _ in range(4))
        # The step that starts a new episode is not a step of the policy: its action is ignored.
        self.counts = torch.zeros(steps, num_envs, dtype=torch.bool)

    def advantages(self, last_values: torch.Tensor, gamma: float, gae_lambda: float) -> torch.Tensor:
        found, following = torch.zeros_like(self.rewards), torch.zeros_like(last_values)
        values = torch.cat([self.values, last_values[None]])
        for step in reversed(range(len(self.rewards))):
            goes_on = 1 - self.ends[step]
            error = self.rewards[step] + gamma * values[step + 1] * goes_on - values[step]
            following = error + gamma * gae_lambda * goes_on * following
            found[step] = following
        return found


def update(agent: Agent, optimizer: torch.optim.Optimizer, rollout: Rollout, last: torch.Tensor, args: Options) -> None:
    """PPO's clipped objective, for some epochs over the rollout."""
    advantages = rollout.advantages(last, args.gamma, args.gae_lambda)
    keep = rollout.counts
    returns, advantages = (advantages + rollout.values)[keep], advantages[keep]
    observations, actions, old = rollout.observations[keep], rollout.actions[keep], rollout.log_probs[keep]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    for _ in range(args.epochs):
        for rows in torch.randperm(len(actions)).chunk(args.minibatches):
            policy = agent.policy(observations[rows])
            ratio = (policy.log_prob(actions[rows]) - old[rows]).exp()
            clipped = ratio.clamp(1 - args.clip, 1 + args.clip)
            gain = torch.min(ratio * advantages[rows], clipped * advantages[rows]).mean()
            value_loss = (agent.value(observations[rows]) - returns[rows]).pow(2).mean()
            loss = -gain + 0.5 * value_loss - args.entropy * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


class Collector:
    """Plays the policy, and keeps between two rollouts where the envs are and what they have returned."""

    def __init__(self, envs: Any, seed: int) -> None:
        self.envs = envs
        self.observations = self._matrix(envs.reset(seed=seed)[0])
        self.over = torch.zeros(envs.num_envs, dtype=torch.bool)
        self.running = np.zeros(envs.num_envs)
        self.returns: deque[float] = deque(maxlen=20)

    def _matrix(self, observations: Any) -> torch.Tensor:
        found = features(self.envs.single_observation_space, observations, self.envs.num_envs)
        return torch.as_tensor(np.concatenate(found, 1))

    @torch.no_grad()
    def collect(self, agent: Agent, steps: int) -> tuple[Rollout, torch.Tensor]:
        """A rollout, and the values of the states behind it."""
        space = self.envs.single_action_space
        kind = torch.int64 if agent.is_discrete else torch.float32
        rollout = Rollout(steps, self.envs.num_envs, self.observations.shape[1], space.shape, kind)
        for step in range(steps):
            seen = agent.normalise(self.observations, learn=True)
            policy = agent.policy(seen)
            actions = policy.sample()
            rollout.observations[step], rollout.counts[step] = seen, ~self.over
            rollout.actions[step] = actions
            rollout.log_probs[step], rollout.values[step] = policy.log_prob(actions), agent.value(seen)
            found, rewards, terminated, truncated, _ = self.envs.step(self._for_env(actions, space))
            over = terminated | truncated
            self.observations, self.over = self._matrix(found), torch.as_tensor(over)
            rollout.rewards[step], rollout.ends[step] = torch.as_tensor(rewards), self.over
            self.running += rewards
            self.returns.extend(self.running[over])
            self.running[over] = 0
        return rollout, agent.value(agent.normalise(self.observations, learn=False))

    @staticmethod
    def _for_env(actions: torch.Tensor, space: gym.Space) -> np.ndarray:
        """Actions in the space: -1 to 1 is the range of a Box that is bounded."""
        if isinstance(space, spaces.Discrete):
            return actions.numpy() + int(space.start)
        low, high, values = space.low, space.high, actions.numpy()
        bounded = np.isfinite(low) & np.isfinite(high)
        middle, half = np.where(bounded, (low + high) / 2, 0), np.where(bounded, (high - low) / 2, 1)
        return np.clip(middle + half * values, low, high).astype(space.dtype)


def make_envs(args: Options) -> Any:
    if args.entry:
        return gym_service.make_vec(args.entry, args.num_envs, workers=args.workers)
    return gym_service.make_vec(args.env_id, args.num_envs, workers=args.workers, python=args.python)


def save(path: Path, agent: Agent, optimizer: torch.optim.Optimizer, means: list[float]) -> None:
    """The file as a whole or not at all: a run that is killed leaves the last one."""
    unfinished = path.with_suffix(".unfinished")
    torch.save({"agent": agent.state_dict(), "optimizer": optimizer.state_dict(), "means": means}, unfinished)
    os.replace(unfinished, path)


def main() -> int:
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    envs = make_envs(args)
    collector = Collector(envs, args.seed)
    agent = Agent(collector.observations.shape[1], envs.single_action_space)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    means: list[float] = []
    if args.resume:
        kept = torch.load(args.checkpoint)
        agent.load_state_dict(kept["agent"])
        optimizer.load_state_dict(kept["optimizer"])
        means = kept["means"]
    writer = None
    if args.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(args.tensorboard, purge_step=len(means) * args.num_envs * args.rollout_steps)
    begun, first = time.monotonic(), len(means)
    for number in range(first + 1, args.total_steps // (args.num_envs * args.rollout_steps) + 1):
        update(agent, optimizer, *collector.collect(agent, args.rollout_steps), args)
        steps = number * args.num_envs * args.rollout_steps
        means.append(float(np.mean(collector.returns)) if collector.returns else float("nan"))
        per_s = (number - first) * args.num_envs * args.rollout_steps / (time.monotonic() - begun)
        print(f"{steps:8} steps  return {means[-1]:7.1f}  {per_s:7.0f} steps/s", flush=True)
        if args.checkpoint:
            save(args.checkpoint, agent, optimizer, means)
        if writer:
            writer.add_scalar("return", means[-1], steps)
            writer.add_scalar("steps per second", per_s, steps)
    envs.close()
    if writer:
        writer.close()
    known = [mean for mean in means if not np.isnan(mean)]
    return 0 if known and known[-1] > known[0] else 1


if __name__ == "__main__":
    raise SystemExit(main())
