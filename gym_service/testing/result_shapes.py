"""Whether reset, step and render return what Gymnasium's return, in words.

Knows the number of values and their order. Never knows spaces or values. Python 3.10 and up.

gym-service passes a simulator's results on as they are, so a trainer meets what is odd about them.
"""

from typing import Any

import numpy as np

RETURNS = {
    "reset": "(observation, info)",
    "step": "(observation, reward, terminated, truncated, info)",
}


def misfit(call: str, result: Any) -> str:
    """What is odd about the result of ``reset`` or ``step``; empty if nothing is."""
    wanted = RETURNS[call]
    if type(result) is tuple and len(result) == wanted.count(",") + 1:
        return ""
    return f"{call}() returned {_kind(result)}, where Gymnasium's returns {wanted}"


def frame_misfit(mode: str, frame: Any) -> str:
    """The same of ``render`` with a render mode."""
    if mode == "rgb_array" and not isinstance(frame, np.ndarray):
        return f"render() returned {_kind(frame)} for rgb_array, where Gymnasium's returns an array"
    if mode == "ansi" and not isinstance(frame, str):
        return f"render() returned {_kind(frame)} for ansi, where Gymnasium's returns a text"
    return ""


def advice(call: str) -> str:
    """What to try."""
    return f"a wrapper whose {call}() returns {RETURNS.get(call, 'it')}; gym-service passes it on as it is"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    return f"one value ({type(value).__name__})"
