"""Converts arrays that belonged to another library in the simulator: to numpy's, torch's or jax's.

Knows the label and the flags of such an array (``protocol/array_likes.py``). Imports a framework only if the entry asks
for it. Never knows calls. Python 3.10 and up.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gym_service.errors import ConfigError
from gym_service.protocol.array_likes import BFLOAT16, FRAMEWORK, float32_of

# A server can send any label; this many are kept.
MAX_LABELS = 20
NUMPY, TORCH, JAX = "numpy", "torch", "jax"


class ArrayMaker:
    """Converts each array of another library to what the user gets, and records the origins of these arrays.

    An array that belongs to no framework in the simulator (a frame stack, a class with ``__array__``) becomes numpy's,
    whatever the entry asks for.
    """

    def __init__(self, framework: str = NUMPY) -> None:
        """Import the framework. Raises ConfigError if this interpreter does not have it."""
        self.labels: list[str] = []
        self._make: Callable[[Any], Any] | None = None
        self._make_bfloat16: Callable[[Any], Any] = _numpy_bfloat16
        self._has_warned = False
        if framework != NUMPY:
            self._make, self._make_bfloat16 = _MAKERS[framework](_imported(framework))

    @property
    def seen(self) -> str | None:
        """The origin of the arrays so far, such as ``"torch cuda:0"``; None if there were none."""
        return ", ".join(self.labels) or None

    def __call__(self, array: Any, label: str, flags: int) -> Any:
        """The array for the user. Its memory is copied only for bfloat16 as float32, and if jax requires it."""
        if label not in self.labels and len(self.labels) < MAX_LABELS:
            self.labels.append(label)
        if flags & BFLOAT16:
            return self._bfloat16(array, bool(flags & FRAMEWORK))
        return self._make(array) if self._make is not None and flags & FRAMEWORK else array

    def _bfloat16(self, bits: Any, is_framework: bool) -> Any:
        made = (self._make_bfloat16 if is_framework else _numpy_bfloat16)(bits)
        if made is not None:
            return made
        if not self._has_warned:
            self._has_warned = True
            text = "arrays of bfloat16 arrive as float32: install ml_dtypes in this interpreter for bfloat16"
            warnings.warn(text, UserWarning, stacklevel=2)
        return float32_of(bits)


def _imported(framework: str) -> Any:
    try:
        return importlib.import_module(framework)
    except ImportError as error:
        text = f'arrays = "{framework}" needs {framework} in the client\'s interpreter: {error}'
        advice = f"install it in {sys.executable}, or leave arrays out"
        raise ConfigError(f"{text}\n  try: {advice}", file=None, key="arrays") from error


def _numpy_bfloat16(bits: Any) -> Any:
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")
    except ImportError:
        return None
    return bits.view(ml_dtypes.bfloat16)


def _torch_makers(torch: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def make(array: Any) -> Any:
        try:
            return torch.from_numpy(array)
        except (TypeError, ValueError):  # a dtype that this torch lacks stays numpy's
            return array

    return make, lambda bits: torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def _jax_makers(jax: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def make(array: Any) -> Any:
        has_64_bits = array.dtype.kind in "iufc" and array.dtype.itemsize > (8 if array.dtype.kind == "c" else 4)
        if not has_64_bits or jax.config.jax_enable_x64:
            try:
                return jax.numpy.from_dlpack(array)
            except (TypeError, ValueError, BufferError, RuntimeError):  # memory that jax cannot use in place
                pass
        try:
            return jax.numpy.asarray(array)
        except TypeError:  # texts and dates have no such form
            return array

    def make_bfloat16(bits: Any) -> Any:
        return jax.numpy.asarray(_numpy_bfloat16(bits))  # jax itself needs ml_dtypes

    return make, make_bfloat16


_MAKERS = {TORCH: _torch_makers, JAX: _jax_makers}
