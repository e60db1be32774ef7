"""``render_mode="human"``: whether the simulator opens its own window, or its frames are shown in one here.

Knows entries and render modes. Never knows a window (``client/window.py``). Python 3.10 and up.

A simulator on this machine that has a display and a "human" mode opens its own window, as without gym-service. Where it
has only "rgb_array", has no display, or is elsewhere, where its window would be seen by nobody, the window is here.
A simulator that is a vector env gets "human" unchanged.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from gym_service_launcher.config.entry import Entry

from gym_service.errors import EnvError

if TYPE_CHECKING:
    from gym_service.client.env import RemoteEnv
    from gym_service.client.human_env import WindowedEnv

# Makes the env with these keywords; with True as one that can show itself in a window.
Open = Callable[[Mapping[str, Any], bool], "RemoteEnv"]


def open_human(entry: Entry, kwargs: Mapping[str, Any], open_with: Open) -> "RemoteEnv":
    """The env, made for ``render_mode="human"``. Blocks for two starts of the simulator where its modes must be asked.

    Raises ConfigError where neither side has a display; else as ``open_with``.
    """
    if _has_display(entry):
        modes = _modes(kwargs, open_with)
        if "human" in modes or "rgb_array" not in modes:
            return open_with(kwargs, False)
    try:
        env = open_with({**kwargs, "render_mode": "rgb_array"}, True)
    except EnvError:
        if "rgb_array" in (modes := _modes(kwargs, open_with)) or not modes:
            raise
        return open_with(kwargs, False)  # a "human" mode that prints texts, for one, needs no display
    try:
        modes = _modes_of(env)
        if modes and "rgb_array" not in modes:
            env.close()
            return open_with(kwargs, False)
        cast("WindowedEnv", env).open_window()
    except BaseException:
        env.close()
        raise
    return env


def _has_display(entry: Entry) -> bool:
    """Whether the simulator runs on this machine and would find a display."""
    if entry.address or entry.is_remote:
        return False
    variables = {**os.environ, **entry.environ}
    return bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY"))


def _modes(kwargs: Mapping[str, Any], open_with: Open) -> list[str]:
    """The render modes that the simulator says it has, or ``human`` for a vector env."""
    env = open_with({name: value for name, value in kwargs.items() if name != "render_mode"}, False)
    try:
        return _modes_of(env)
    finally:
        env.close()


def _modes_of(env: "RemoteEnv") -> list[str]:
    from gym_service.client.env import RemoteEnv

    if not isinstance(env, RemoteEnv):  # a vector env: only the simulator can show a batch
        return ["human"]
    return [str(mode) for mode in env.metadata.get("render_modes") or ()]
