"""An env with values that are real torch tensors, as in simulators on GPUs. Gymnasium, Python 3.10."""

import gymnasium as gym
import torch


class TorchEnv(gym.Env):
    observation_space = gym.spaces.Dict(
        state=gym.spaces.Box(-100, 100, (3,)), pixels=gym.spaces.Box(0, 255, (64, 84, 84, 4), "uint8")
    )
    action_space = gym.spaces.Box(-1, 1, (3,))

    def __init__(self, numpy=False):
        self._to_numpy, self._state = numpy, torch.zeros(3, requires_grad=True)
        self._pixels = torch.zeros((64, 84, 84, 4), dtype=torch.uint8)

    def version(self):
        return torch.__version__

    def _observation(self):
        pixels = self._pixels.numpy() if self._to_numpy else self._pixels
        return {"pixels": pixels, "state": self._state.detach().numpy() if self._to_numpy else self._state}

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self._state = torch.full((3,), float(seed or 0), requires_grad=True)
        return self._observation(), {"half": self._state.half(), "nested": [self._state.sum()]}

    def step(self, action):
        assert self._to_numpy or isinstance(action, torch.Tensor)
        self._state = self._state + torch.as_tensor(action)
        self._pixels += 1
        info = {"complex": torch.complex(self._state, self._state).conj(), "t": self._state.reshape(3, 1).T}
        return self._observation(), self._state.sum(), self._state.sum() > 50, torch.tensor(False), info


class FirstResetFails(gym.Env):
    """Small observations and actions of torch. Its next reset raises if ``fails`` is true."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (3,))
    fails = False

    def reset(self, seed=None, options=None):
        if self.fails:
            self.fails = False
            raise RuntimeError("this reset fails")
        return torch.zeros(3), {}

    def step(self, action):
        assert isinstance(action, torch.Tensor)
        return action, 0.0, False, False, {}


gym.register("Torch-v0", entry_point=TorchEnv, disable_env_checker=True, order_enforce=False)
