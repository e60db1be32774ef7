"""PPO in one file, in the manner of CleanRL, on a simulator in another interpreter.

    pip install gym-service torch
    python examples/ppo.py --python ./sim_env                    # a venv with gym or gymnasium in it; CartPole-v1
    python examples/ppo.py --python 3.8 --env-id LunarLander-v2 --workers 2

Nothing in it is special to gym-service but the line that makes the envs. For discrete actions and observations that
are one vector. Prints the mean return as it learns; exits with 1 where the last returns are no better than the first.
"""

import argparse
import time
from collections import deque

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import gym_service

Options = argparse.Namespace


def arguments() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="the simulator's interpreter: a venv, a version, conda:NAME")
    parser.add_argument("--env-id", default="CartPole-v1", help="its id there")
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
    return parser.parse_args()


class Agent(nn.Module):
    """A small policy, and a value function beside it."""

    def __init__(self, observation_size: int, action_count: int) -> None:
        super().__init__()
        self.actor = self._layers(observation_size, action_count, 0.01)
        self.critic = self._layers(observation_size, 1, 1.0)

    @staticmethod
    def _layers(size_in: int, size_out: int, gain: float) -> nn.Sequential:
        layers = [nn.Linear(size_in, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, size_out)]
        for layer, of_layer in zip(layers[::2], (2**0.5, 2**0.5, gain), strict=True):
            nn.init.orthogonal_(layer.weight, of_layer)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def act(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions, their log probabilities, the values of the states."""
        policy = Categorical(logits=self.actor(observations))
        actions = policy.sample()
        return actions, policy.log_prob(actions), self.critic(observations).squeeze(-1)


class Rollout:
    """What the envs gave for some steps, and how good it was."""

    def __init__(self, steps: int, num_envs: int, observation_size: int) -> None:
        self.observations = torch.zeros(steps, num_envs, observation_size)
        self.actions = torch.zeros(steps, num_envs, dtype=torch.int64)
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


def update(
    agent: Agent, optimizer: torch.optim.Optimizer, rollout: Rollout, last: torch.Tensor, args: argparse.Namespace
) -> None:
    """PPO's clipped objective, for some epochs over the rollout."""
    advantages = rollout.advantages(last, args.gamma, args.gae_lambda)
    keep = rollout.counts
    returns, advantages = (advantages + rollout.values)[keep], advantages[keep]
    observations, actions, old = rollout.observations[keep], rollout.actions[keep], rollout.log_probs[keep]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    for _ in range(args.epochs):
        for rows in torch.randperm(len(actions)).chunk(args.minibatches):
            policy = Categorical(logits=agent.actor(observations[rows]))
            ratio = (policy.log_prob(actions[rows]) - old[rows]).exp()
            clipped = ratio.clamp(1 - args.clip, 1 + args.clip)
            gain = torch.min(ratio * advantages[rows], clipped * advantages[rows]).mean()
            value_loss = (agent.critic(observations[rows]).squeeze(-1) - returns[rows]).pow(2).mean()
            loss = -gain + 0.5 * value_loss - args.entropy * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


class Collector:
    """Plays the policy, and keeps between two rollouts where the envs are and what they have returned."""

    def __init__(self, envs: gym_service.RemoteVectorEnv, seed: int) -> None:
        self.envs = envs
        self.observations = torch.as_tensor(envs.reset(seed=seed)[0], dtype=torch.float32)
        self.over = torch.zeros(envs.num_envs, dtype=torch.bool)
        self.running = np.zeros(envs.num_envs)
        self.returns: deque[float] = deque(maxlen=20)

    @torch.no_grad()
    def collect(self, agent: Agent, steps: int) -> Rollout:
        rollout = Rollout(steps, self.envs.num_envs, self.observations.shape[1])
        for step in range(steps):
            actions, log_probs, values = agent.act(self.observations)
            rollout.observations[step], rollout.counts[step] = self.observations, ~self.over
            rollout.actions[step], rollout.log_probs[step], rollout.values[step] = actions, log_probs, values
            found, rewards, terminated, truncated, _ = self.envs.step(actions.numpy())
            over = terminated | truncated
            self.observations, self.over = torch.as_tensor(found, dtype=torch.float32), torch.as_tensor(over)
            rollout.rewards[step], rollout.ends[step] = torch.as_tensor(rewards), self.over
            self.running += rewards
            self.returns.extend(self.running[over])
            self.running[over] = 0
        return rollout


def main() -> int:
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    envs = gym_service.make_vec(args.env_id, args.num_envs, workers=args.workers, python=args.python)
    agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    collector, means, begun = Collector(envs, args.seed), [], time.monotonic()
    for number in range(1, args.total_steps // (args.num_envs * args.rollout_steps) + 1):
        rollout = collector.collect(agent, args.rollout_steps)
        with torch.no_grad():
            last = agent.critic(collector.observations).squeeze(-1)
        update(agent, optimizer, rollout, last, args)
        steps = number * args.num_envs * args.rollout_steps
        means.append(float(np.mean(collector.returns)) if collector.returns else float("nan"))
        print(
            f"{steps:8} steps  return {means[-1]:7.1f}  {steps / (time.monotonic() - begun):7.0f} steps/s", flush=True
        )
    envs.close()
    return 0 if means[-1] > means[0] else 1


if __name__ == "__main__":
    raise SystemExit(main())
