"""The adapter for robosuite's own env classes and LIBERO's: dict observations, four values, bounds for a space.

Knows the attributes of such an object. Never imports robosuite. Python 3.6 and up.

Observations, rewards and infos cross as the simulator returns them; the info of a step gets ``success`` if the env
states it. In this API ``done`` at the horizon is a time limit, and a further step is an error, so ``done`` becomes
``truncated``. LIBERO sets ``done`` for success and does not report the horizon; for it both flags are set separately.
"""

import random

import numpy as np

from gym_service.server import refusals
from gym_service.server.adapters import converting, detection

OWN_LIMIT = "kwargs = { ignore_done = true }"
DEFAULT_PIXELS = 256


class RobosuiteAdapter(converting.ConvertingAdapter):
    """Holds an env of robosuite or LIBERO, wrappers included."""

    library = "robosuite"
    own_limit = OWN_LIMIT

    def __init__(self, env, recipe, creator):
        self._inner = detection.bounds_owner(env)
        if getattr(self._inner, "has_offscreen_renderer", False):
            self.render_modes = ("rgb_array",)
        low, high = (np.asarray(bound) for bound in self._inner.action_spec)
        self.action_data = converting.box(low.shape, np.result_type(low, high), low, high)
        self.observation_data = _space(_observed(self._inner))
        # LIBERO's env ends at success; robosuite's goes on until its horizon.
        self._ends_with_success = callable(getattr(env, "check_success", None))
        self._says_success = callable(getattr(self._inner, "_check_success", None))
        super().__init__(env, recipe, creator)
        if self.render_mode is not None:
            self._camera()

    def reset(self, seed, options, *args, **more):
        """The observation, and an empty info."""
        self.begin_episode(seed, options)
        return self.env.reset(*args, **more), {}

    def convert_step(self, result):
        """Five values from four. Raises Refused if there are not four."""
        if not isinstance(result, (tuple, list)) or len(result) != 4:
            raise refusals.api_mismatch("step() of an env of robosuite returns four values, not %r" % (result,))
        observation, reward, done, info = result
        at_horizon = self._is_at_horizon()
        terminated = bool(done) if self._ends_with_success else bool(done) and not at_horizon
        return observation, reward, terminated, at_horizon, self._with_success(info)

    def render(self, *args, **more):
        """A camera's frame, upright; None without a render_mode. Passes further arguments to ``sim.render``."""
        if self.render_mode is None:
            return None
        # OpenGL's first line is the bottom one. Observations keep the orientation that robosuite's macros set.
        return self._inner.sim.render(*args, **dict(dict(self._size(), **self._camera()), **more))[::-1]

    def frames_per_s(self):
        """One frame per step, in the simulator's own time."""
        return getattr(self._inner, "control_freq", None)

    def step_limit(self):
        """The entry's limit or the env's own horizon, whichever is shorter."""
        own = None if getattr(self._inner, "ignore_done", False) else getattr(self._inner, "horizon", None)
        limits = [limit for limit in (self._limit, own) if limit is not None]
        return int(min(limits)) if limits else None

    def _is_at_horizon(self):
        inner = self._inner
        if getattr(inner, "ignore_done", False):
            return False
        horizon, count = getattr(inner, "horizon", None), getattr(inner, "timestep", None)
        return horizon is not None and count is not None and bool(count >= horizon)

    def _with_success(self, info):
        if not self._says_success or type(info) is not dict or "success" in info:
            return info
        try:
            return dict(info, success=self._inner._check_success())
        except NotImplementedError:  # an env without a task
            self._says_success = False
            return info

    def _size(self):
        """The width and height of a frame: from ``render_kwargs``, else those of the first camera in observations."""
        size = {"width": "camera_widths", "height": "camera_heights"}
        return {
            name: self._render_kwargs.get(name, _first(getattr(self._inner, attribute, None), DEFAULT_PIXELS))
            for name, attribute in size.items()
        }

    def _camera(self):
        """Other arguments of ``sim.render``. The camera is the requested one, else the env's own viewer camera."""
        others = {name: value for name, value in self._render_kwargs.items() if name not in ("width", "height")}
        if "camera_name" not in others:
            others["camera_name"] = _first(getattr(self._inner, "render_camera", None), None)
        known = getattr(getattr(self._inner.sim, "model", None), "camera_names", None)
        if known is not None and others["camera_name"] not in (None, *known):
            text = "render_kwargs: there is no camera %r; there are %s"
            raise refusals.api_mismatch(text % (others["camera_name"], ", ".join(known)))
        return others


def _observed(env):
    """An observation before the first reset. It leaves the global random generators as they were.

    ``observation_spec`` alone would return zeros, with the wrong dtype for a camera. Noise that a user has added to the
    observations draws from numpy's global generator.
    """
    observe = getattr(env, "_get_observations", None)
    if observe is None:  # before robosuite 1.1
        return env.observation_spec()
    states = np.random.get_state(), random.getstate()
    try:
        return observe(force_update=True)
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])


def _space(observation):
    """The space of an observation: all values with the shape and dtype of each of its parts."""
    if isinstance(observation, dict):
        return {"kind": "Dict", "spaces": [(key, _space(part)) for key, part in observation.items()]}
    array = np.asarray(observation)
    found = converting.box(array.shape, array.dtype)
    return found or converting.foreign(observation, array.shape, array.dtype.str)


def _first(value, otherwise):
    """The value, or the first of several values; ``otherwise`` if there is none."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return otherwise if value is None else value
