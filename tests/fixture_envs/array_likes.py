"""An env whose values are arrays of other libraries, by name. Any gym, Python 3.6 and up.

``stand_ins`` beside this file must be importable for the tensors: it contains a small module ``torch``. Each value has
a name, and beside it is the array that arrives.
"""

import sys

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym

import torch

PIXELS = (np.arange(13200) % 251).astype(np.uint8).reshape(40, 110, 3)
ROW = np.arange(4, dtype=np.float32)
BITS = np.array([0x3F80, 0xC000, 0x7F80], np.uint16)  # 1, -2 and infinity as bfloat16


class WithDlpack:
    """An array with DLPack, like those of jax and cupy."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **kwargs):
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnDevice(WithDlpack):
    """Like a cupy array on a GPU: it refuses conversion to numpy, except through ``get``."""

    def __dlpack_device__(self):
        return 2, 1

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def get(self):
        return self._array


class OnlyArray:
    """An array with only ``__array__``."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


class Subclass(torch.Tensor):
    """A tensor of a class that a simulator has defined."""


class Sparse(OnlyArray):
    """A value that cannot become an array."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("a sparse one has none")


class Itself(OnlyArray):
    """An array of objects that contains the value twice."""

    def __array__(self, dtype=None, copy=None):
        array = np.empty(2, object)
        array[0] = array[1] = self
        return array


def float32_of_bits():
    return (BITS.astype(np.uint32) << 16).view(np.float32)


# name: (the simulator's value, the array that arrives)
VALUES = {
    "tensor": (lambda: torch.Tensor(ROW.copy()), ROW),
    "large tensor": (lambda: torch.Tensor(PIXELS.copy()), PIXELS),
    "tensor on a device": (lambda: torch.Tensor(ROW.copy(), "cuda:0"), ROW),
    "tensor of a subclass": (lambda: Subclass(ROW.copy()), ROW),
    "tensor with a gradient": (lambda: torch.Tensor(ROW.copy(), requires_grad=True), ROW),
    "tensor without dimensions": (lambda: torch.Tensor(np.array(2.5, np.float32)), np.array(2.5, np.float32)),
    "empty tensor": (lambda: torch.Tensor(np.empty((0, 3), np.int16)), np.empty((0, 3), np.int16)),
    "bfloat16": (lambda: torch.Tensor(BITS.copy(), dtype=torch.bfloat16), float32_of_bits()),
    "only an array": (lambda: OnlyArray(PIXELS.copy()), PIXELS),
    "only an array, of another order": (lambda: OnlyArray(np.asfortranarray(PIXELS)), PIXELS),
    "only an array, of objects": (lambda: OnlyArray(np.array([1, "a"], object)), np.array([1, "a"], object)),
    "on a device": (lambda: OnDevice(ROW.copy()), ROW),
}
if hasattr(np, "from_dlpack"):
    VALUES["dlpack"] = (lambda: WithDlpack(PIXELS.copy()), PIXELS)
    VALUES["dlpack without dimensions"] = (lambda: WithDlpack(np.array(3)), np.array(3))
# name: (the simulator's value, a part of the reason)
REFUSED = {
    "sparse": (lambda: Sparse(ROW), "a sparse one has none"),
    "itself": (lambda: Itself(ROW), "it holds itself"),
    "key": (lambda: {torch.Tensor(ROW): 1}, "cannot be a key"),
}


class ArraysEnv(gym.Env):
    """Returns the value that ``give`` has named, in each part of a result and as an attribute."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, name="tensor", **kwargs):
        self.metadata = {"render_modes": ["rgb_array"], "tensor": torch.Tensor(ROW.copy())}
        self.name = name
        self.action = None

    @property
    def value(self):
        return dict(VALUES, **REFUSED)[self.name][0]()

    def give(self, name):
        self.name = name

    def reset(self, seed=None, options=None):
        return self.value, {"value": self.value, "nested": [(self.value,)]}

    def step(self, action):
        self.action = action
        return {"a": self.value}, self.value, self.value, False, {"value": self.value}

    def render(self):
        return [self.value, self.value]

    def told(self):
        """The last action: its class with its module, its device, its array."""
        return self.describe(self.action)

    def describe(self, value):
        if isinstance(value, dict):
            return {key: self.describe(part) for key, part in value.items()}
        name = "%s.%s" % (type(value).__module__, type(value).__name__)
        is_tensor = isinstance(value, torch.Tensor)
        return name, value.device if is_tensor else None, value.cpu().numpy() if is_tensor else value


class StackedEnv(ArraysEnv):
    """For a vector env: an observation that fits its space, and numbers as reward and flags."""

    def step(self, action):
        self.action = action
        return self.value, 1.0, False, False, {"value": self.value}


class InfosEnv(ArraysEnv):
    """For a vector env: numpy observations, and infos with the named value. Each step ends an episode."""

    def _info(self):
        return {} if self.name is None else {"value": self.value, "nested": {"value": self.value}, "number": 1}

    def reset(self, seed=None, options=None):
        return ROW.copy(), self._info()

    def step(self, action):
        return ROW.copy(), 1.0, True, False, self._info()


assert sys.modules["torch"].Tensor.__module__ == "torch"
