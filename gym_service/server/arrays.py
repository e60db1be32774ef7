"""Converts actions to arrays of the simulator's framework.

Knows which frameworks this process has loaded, and imports none. Never knows the wire. Python 3.6 and up.

An action arrives with numpy arrays. If the observation of the last reset was an array of a framework, the action
becomes one of the same framework on the same device, unless the recipe's ``actions`` says otherwise. Only arrays are
converted: numbers, numpy's scalars and texts stay as they are, and so do arrays of a dtype that the framework lacks.
"""

import sys

import numpy as np

from gym_service.protocol.array_likes import BFLOAT16, FRAMEWORK, float32_of, framework_of, is_array_like, to_numpy
from gym_service.server import refusals

NUMPY = "numpy"


class ActionArrays:
    """Converts actions for one env, or for all envs of a batch."""

    def __init__(self, wanted=None):
        """``wanted``: "numpy", "torch", "torch:cuda:0", "jax"; None to follow the observations."""
        self._follows = wanted is None
        self._framework, _, device = (wanted or NUMPY).partition(":")
        self._device = device or None
        self.passes = self._follows and self._framework == NUMPY  # whether ``convert`` returns actions unchanged

    def learn(self, observation):
        """Record the framework and device of a reset's observation."""
        if self._follows:
            found = _first_array(observation)
            self._framework = NUMPY if found is None else framework_of(type(found))
            self._device = None if found is None else _device_of(found)
            self.passes = self._framework == NUMPY

    def convert(self, action):
        """The action with its arrays in the form that the simulator takes."""
        return action if self.passes else self._converted(action)

    def _converted(self, value):
        if type(value) is np.ndarray:
            return value if self._framework == NUMPY else self._make(value)
        if type(value) is dict:
            return {key: self._converted(part) for key, part in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._converted(part) for part in value)
        if is_array_like(type(value)):
            return self._moved(value)
        return value

    def _make(self, array):
        if self._framework not in _MAKERS or array.dtype.kind not in "biufc":
            return array
        return _made(self._framework, _loaded(self._framework), array, self._device)

    def _moved(self, value):
        """An array of the framework, on the right device."""
        if framework_of(type(value)) != self._framework:
            array, flags = to_numpy(value)
            return array if flags & BFLOAT16 else self._converted(array)
        return value if self._device is None or not hasattr(value, "to") else value.to(self._device)


def received(array, label, flags):
    """An array that belonged to a framework in the client: here of the same framework, if it is loaded."""
    framework = label.partition(" ")[0]
    module = sys.modules.get(framework) if flags & FRAMEWORK and framework in _MAKERS else None
    if not flags & BFLOAT16:
        return array if module is None else _made(framework, module, array, None)
    if module is not None and framework == "torch":
        return module.from_numpy(array.view(np.int16)).view(module.bfloat16)
    ml_dtypes = sys.modules.get("ml_dtypes")
    found = float32_of(array) if ml_dtypes is None else array.view(ml_dtypes.bfloat16)
    return found if module is None else _made(framework, module, found, None)


def _first_array(value):
    """The first array of a framework in an observation; None if there is none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next((found for found in map(_first_array, value) if found is not None), None)
    return value if is_array_like(type(value)) and framework_of(type(value)) in _MAKERS else None


def _device_of(value):
    """The device of an array, in the form that its framework takes; None for the framework's default."""
    if framework_of(type(value)) == "torch":
        return value.device
    if framework_of(type(value)) == "jax":
        devices = value.devices() if callable(getattr(value, "devices", None)) else {value.device()}
        return next(iter(devices)) if len(devices) == 1 else None
    return None


def _loaded(framework):
    module = sys.modules.get(framework)
    if module is None:
        text = 'actions = "%s": the simulator has not imported %s\n  try: imports = ["%s"]'
        raise refusals.api_mismatch(text % (framework, framework, framework))
    return module


def _made(framework, module, array, device):
    """The array as one of a framework. It stays numpy's if the framework lacks its dtype."""
    native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    try:
        return _MAKERS[framework](module, native, device)
    except (TypeError, ValueError):  # uint32 in torch before 2.3, longdouble
        return array


def _to_torch(torch, array, device):
    made = torch.from_numpy(array)
    return made if device is None or str(device) == "cpu" else made.to(device)


def _to_jax(jax, array, device):
    if isinstance(device, str):
        kind, _, number = device.partition(":")
        device = jax.devices(kind)[int(number or 0)]
    return jax.device_put(array, device)


_MAKERS = {
    "torch": _to_torch,
    "jax": _to_jax,
    "cupy": lambda cupy, array, device: cupy.asarray(array),
    "tensorflow": lambda tensorflow, array, device: tensorflow.convert_to_tensor(array),
}
