"""The adapter for dm_env: specs become spaces, time steps become gymnasium's results.

Knows the attributes of such an object. Never imports dm_env, whose version may differ from the client's, or any gym.
Python 3.6 and up.

The values equal Shimmy's, bit for bit: each array of an observation passes through ``numpy.asarray``, dicts are plain
dicts in the simulator's order, and the info has the discount and the type of the time step under Shimmy's names. A
reward crosses as the simulator returns it; the first time step of an episode has none, and ``step`` returns 0 for it,
as Shimmy does.
"""

import numpy as np

from gym_service.server import refusals
from gym_service.server.adapters import converting, detection

OWN_LIMIT = "kwargs = { environment_kwargs = { time_limit = … } }, for an env of dm_control.suite"


class DmEnvAdapter(converting.ConvertingAdapter):
    """Holds a dm_env environment."""

    library = "dm_env"
    own_limit = OWN_LIMIT

    def __init__(self, env, recipe, creator):
        self._physics = getattr(env, "physics", None)
        self.render_modes = ("rgb_array", "depth_array") if hasattr(self._physics, "render") else ()
        self.observation_data = _space(env.observation_spec())
        self.action_data = _space(env.action_spec())
        super().__init__(env, recipe, creator)

    def reset(self, seed, options, *args, **more):
        """The observation and the info of the first time step."""
        self.begin_episode(seed, options)
        observation, _, _, _, info = self.convert_step(self.env.reset(*args, **more))
        self._elapsed = 0
        return observation, info

    def convert_step(self, result):
        """Gymnasium's five values of a time step."""
        observation = _observation(result.observation, self.observation_data)
        info = {"timestep.discount": result.discount, "timestep.step_type": result.step_type}
        if result.first():  # in this API a step after the last one starts the next episode
            self._elapsed = -1
        is_over = result.last()
        terminated = bool(is_over) and _is_zero(result.discount)
        reward = 0 if result.reward is None else result.reward
        return observation, reward, terminated, bool(is_over) and not terminated, info

    def seed(self, seed):
        """Seed it with its own ``seed()``, else replace its generators like Shimmy. Raises Refused if it has none."""
        layers = detection.layers(self.env)
        holders = [place for layer in layers for place in _generators(layer)]
        if not holders or any(callable(getattr(layer, "seed", None)) for layer in layers):
            super().seed(seed)
            return
        generator = np.random.RandomState(seed)  # one for all: Shimmy also shares one with the env inside a noisy one
        for holder, name in holders:
            setattr(holder, name, generator)

    def render(self, *args, **more):
        """The frame of the physics' camera; None without a render_mode. Passes further arguments to the physics."""
        if self.render_mode is None:
            return None
        # Each reset may replace the physics.
        depth = {"depth": True} if self.render_mode == "depth_array" else {}
        return self.env.physics.render(*args, **dict(self._render_kwargs, **depth, **more))

    def frames_per_s(self):
        """One frame per step, in the simulator's own time."""
        step_s = getattr(self.env, "control_timestep", None)
        return 1 / step_s() if callable(step_s) else None


def _generators(layer):
    """(holder, name) of each attribute in which an object keeps its generator."""
    task = getattr(layer, "task", None)
    places = ((task, "_random"), (layer, "_random_state"), (layer, "_rng"))
    raw = getattr(layer, "raw_env", None)  # in bsuite's wrappers
    return [
        (holder, name)
        for holder, name in (*places, (raw, "_rng"))
        if isinstance(getattr(holder, name, None), np.random.RandomState)
    ]


def _space(spec):
    """A spec as the plain data of a space, with dicts in their order."""
    if isinstance(spec, dict):
        return {"kind": "Dict", "spaces": [(key, _space(part)) for key, part in spec.items()]}
    if isinstance(spec, (list, tuple)):
        return {"kind": "Tuple", "spaces": [_space(part) for part in spec]}
    dtype, shape = np.dtype(spec.dtype), tuple(spec.shape)
    if hasattr(spec, "num_values"):
        return {"kind": "Discrete", "n": int(spec.num_values), "start": 0, "dtype": dtype.str}
    if hasattr(spec, "string_type"):
        return converting.foreign(spec, shape, "<U0" if spec.string_type is str and not shape else "|O")
    bounds = (spec.minimum, spec.maximum) if hasattr(spec, "minimum") else ()
    return converting.box(shape, dtype, *bounds) or converting.foreign(spec, shape, dtype.str)


def _observation(value, space):
    """An observation as Shimmy returns it. A value whose spec is not an array's crosses as it is."""
    kind = None if space is None else space["kind"]
    if isinstance(value, dict):
        parts = dict(space["spaces"]) if kind == "Dict" else {}
        return {key: _observation(part, parts.get(key)) for key, part in value.items()}
    if kind == "Tuple" and len(value) == len(space["spaces"]):
        return tuple(_observation(part, data) for part, data in zip(value, space["spaces"]))
    return value if kind == "Foreign" else np.asarray(value)


def _is_zero(discount):
    """Whether the last time step's discount is zero. Raises Refused if it is not one number."""
    if np.ndim(discount) == 0 or np.size(discount) == 1:
        number = np.asarray(discount).reshape(())[()]
        if isinstance(number, (bool, np.bool_, int, float, np.number)):
            return bool(number == 0)
    raise refusals.api_mismatch("the last time step has the discount %r, which is not one number" % (discount,))
