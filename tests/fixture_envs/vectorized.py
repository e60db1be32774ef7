"""Simulators that are themselves vector envs, each in a form that real ones have. Any gym, Python 3.6 and up."""

import os

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

OBSERVATION = gym.spaces.Box(-10, 10, (2,), np.float32)
ACTION = gym.spaces.Discrete(3)


class Counting:
    """Counts per env; the base of all classes here. Not an Env of gym's."""

    observation_space, action_space = OBSERVATION, ACTION

    def __init__(self, num_envs=3, size=2, **kwargs):
        self.num_envs = num_envs
        self.kwargs = kwargs
        self.label = kwargs.get("label", "")
        self.calls = []
        self.counts = np.zeros((num_envs, 2), np.float32)

    def close(self):
        pass


class Pool(Counting):
    """Like EnvPool: unbatched spaces, ``env_id`` in reset and step, rewards of float32, infos in a dict of arrays."""

    def reset(self, env_id=None):
        ids = np.arange(self.num_envs, dtype=np.int32) if env_id is None else env_id
        self.counts[ids] = 0
        return self.counts[ids], {"env_id": ids, "nested": {"elapsed": np.zeros(len(ids), np.int32)}}

    def step(self, actions, env_id=None):
        ids = np.arange(self.num_envs, dtype=np.int32) if env_id is None else env_id
        self.counts[ids] += np.asarray(actions).reshape(-1, 1)
        ended = self.counts[ids, 0] > 4
        return self.counts[ids], self.counts[ids, 0], ended, np.zeros(len(ids), bool), {"env_id": ids}

    def __len__(self):
        return self.num_envs

    @property
    def all_env_ids(self):
        return np.arange(self.num_envs)


class Named(Pool):
    """Takes the number of its envs under another keyword."""

    single_observation_space, single_action_space = OBSERVATION, ACTION
    observation_space = gym.spaces.Box(-10, 10, (4, 2), np.float32)
    action_space = gym.spaces.MultiDiscrete([3] * 4)

    def __init__(self, count=1, mode="SameStep"):
        super().__init__(count)
        self.metadata = {"autoreset_mode": mode, "render_modes": []}


class Dying(Pool):
    """Its process ends in a step with the action 2 for the first env."""

    def step(self, actions, env_id=None):
        if actions[0] == 2:
            os._exit(7)
        return super().step(actions, env_id)


class Shown(Pool):
    """Has a render mode."""

    def __init__(self, render_mode=None, modes=("human", "rgb_array"), refused=None):
        super().__init__()
        if render_mode == refused is not None:
            raise ValueError("no render mode %r" % render_mode)
        self.render_mode, self.metadata = render_mode, {"render_modes": list(modes)}


class Baselines(Counting):
    """Like gym3 and Stable-Baselines: reset() returns only observations, step() four values, infos are a list."""

    def reset(self):
        self.counts[:] = 0
        return self.counts.copy()

    def step(self, actions):
        self.counts += np.asarray(actions).reshape(-1, 1)
        done = self.counts[:, 0] > 1
        infos = [{"TimeLimit.truncated": bool(count == 2), "count": float(count)} for count in self.counts[:, 0]]
        return self.counts.copy(), self.counts[:, 0].copy(), done, infos


class Isaac(Counting):
    """Like Isaac Gym: tensors everywhere, a dict of observations, four values."""

    def reset(self):
        import torch

        self.counts[:] = 0
        return {"obs": torch.from_numpy(self.counts.copy())}

    def step(self, actions):
        import torch

        assert isinstance(actions, torch.Tensor), actions
        self.counts += actions.numpy().reshape(-1, 1)
        done = torch.from_numpy((self.counts[:, 0] > 1).astype(np.uint8))
        said = torch.from_numpy(self.counts[:, 0] == 2)
        observation = {"obs": torch.from_numpy(self.counts.copy())}
        infos = {"time_outs": said} if self.kwargs.get("quiet") else {"TimeLimit.truncated": said}
        return observation, torch.from_numpy(self.counts[:, 0].copy()), done, infos


class BatchedEnv(gym.Env):
    """Like ManiSkill: an Env of gym's with batched values and a ``num_envs``."""

    num_envs = 2
    single_observation_space, single_action_space = OBSERVATION, ACTION
    observation_space = gym.spaces.Box(-10, 10, (2, 2), np.float32)
    action_space = gym.spaces.MultiDiscrete([3, 3])

    def __init__(self, **kwargs):
        pass

    def reset(self, seed=None, options=None):
        return np.zeros((2, 2), np.float32), {}

    def step(self, actions):
        return np.ones((2, 2), np.float32), np.array([1.0, 2.0]), np.array([True, False]), np.zeros(2, bool), {}


class Large(Counting):
    """Observations that together are larger than a message may be."""

    def __init__(self, num_envs=20):
        super().__init__(num_envs)
        self.observation_space = gym.spaces.Box(0, 255, (num_envs, 4, 2**20), np.uint8)
        self.single_observation_space = gym.spaces.Box(0, 255, (4, 2**20), np.uint8)
        self.action_space, self.single_action_space = gym.spaces.MultiDiscrete([3] * num_envs), ACTION
        self.batch = np.arange(num_envs * 4, dtype=np.uint8).reshape(num_envs, 4, 1).repeat(2**20, 2)

    def reset(self, seed=None, options=None):
        return self.batch, {"seed": seed}
