"""Shared by the adapters of dm_env and robosuite: spaces as plain data, a step limit, and seeds that a reset lacks.

Knows that such an object is not a gym env and that its interpreter may have no gym. Never knows the wire. Python 3.6
and up.
"""

import inspect
import sys

import numpy as np

from gym_service.protocol.encoder import Encoder
from gym_service.server import refusals
from gym_service.server.adapters import detection
from gym_service.server.adapters.gymnasium import GymnasiumAdapter

NO_LIMIT = -1


class ConvertingAdapter(GymnasiumAdapter):
    """Holds the simulator's object, and returns results in gymnasium's API.

    Subclasses set ``observation_data`` and ``action_data``, the spaces as plain data, and define ``convert_step``.
    """

    library = ""  # the name of its module, for the version in ``target``
    render_modes = ()
    own_limit = ""  # where the user sets the simulator's own time limit

    def __init__(self, env, recipe, creator):
        """``recipe`` is what the env was made from; ``creator`` is the callable that made it, or None."""
        super().__init__(env, recipe["kwargs"].get("render_mode"), True)
        self._creator = creator
        self._render_kwargs = dict(recipe["kwargs"].get("render_kwargs") or {})
        self._limit = recipe["max_episode_steps"]
        self._elapsed = 0
        if self._limit == NO_LIMIT:
            text = "max_episode_steps = -1: the time limit is the simulator's own\n  try: %s"
            raise refusals.api_mismatch(text % self.own_limit)
        if self.render_mode is not None and self.render_mode not in self.render_modes:
            text = "render_mode = %r: %s renders %s"
            modes = " or ".join(repr(mode) for mode in self.render_modes) or "nothing"
            raise refusals.api_mismatch(text % (self.render_mode, detection.described(env), modes))

    def space(self, name):
        """The space as plain data, in a comparable form."""
        return ComparableSpace(self.observation_data if name == "observation_space" else self.action_data)

    @property
    def stepper(self):
        """This adapter: it converts each result."""
        return self

    def step(self, action, *args, **more):
        """Five values: observation, reward, terminated, truncated, info."""
        observation, reward, terminated, truncated, info = self.convert_step(self.env.step(action, *args, **more))
        self._elapsed += 1
        if self._limit is not None and self._elapsed >= self._limit:
            truncated = True
        return observation, reward, terminated, truncated, info

    def convert_step(self, result):
        raise NotImplementedError

    def describe(self):
        """Everything that the client must know before the first reset."""
        return {
            "observation_space": self.observation_data,
            "action_space": self.action_data,
            "metadata": self.metadata(),
            "render_mode": self.render_mode,
            "spec": self._spec(),
            "target": self._target(),
        }

    def metadata(self):
        """Its render modes, and the frames per second if the simulator states them."""
        frames_per_s = self.frames_per_s()
        fps = {} if frames_per_s is None else {"render_fps": frames_per_s}
        return dict({"render_modes": list(self.render_modes)}, **fps)

    def frames_per_s(self):
        return None

    def takes_options(self):
        """Always False: this API has no options."""
        return False

    def close(self):
        """Close the env if it has such a method."""
        close = getattr(self.env, "close", None)
        if close is not None:
            close()

    def begin_episode(self, seed, options):
        """Prepare a reset: refuse options, seed if possible, count steps from zero."""
        if options:
            text = "reset(options=%r): %s takes no options when it is reset"
            raise refusals.api_mismatch(text % (options, detection.described(self.env)))
        if seed is not None:
            self.seed(seed)
        self._elapsed = 0

    def seed(self, seed):
        """Seed the simulator, or raise Refused with the name of the constructor argument that seeds it."""
        method = next((layer.seed for layer in detection.layers(self.env) if callable(getattr(layer, "seed", None))), 0)
        if not method:
            raise refusals.api_mismatch(self.no_seed(seed))
        method(seed)

    def no_seed(self, seed):
        """The message for a seed that the simulator cannot take."""
        arguments = [*_arguments(self._creator)]
        for layer in detection.layers(self.env):
            arguments += _arguments(type(layer))
        seeds = [name for name in arguments if _is_seed(name)]
        text = "reset(seed=%r): %s cannot be seeded once it is made" % (seed, detection.described(self.env))
        if "task_kwargs" in arguments:
            return "%s\n  try: kwargs = { task_kwargs = { random = %r } }" % (text, seed)
        if seeds:
            return "%s\n  try: kwargs = { %s = %r }" % (text, seeds[0], seed)
        return text + ", and nothing that it is made with is called a seed"

    def _spec(self):
        return {"id": None, "reward_threshold": None, "nondeterministic": False, "max_episode_steps": self.step_limit()}

    def step_limit(self):
        """The number of steps after which an episode is truncated; None if unknown."""
        return self._limit

    def _target(self):
        return dict(super()._target(), api=_with_version(self.library))


class ComparableSpace:
    """A space as plain data. Two are equal if both would cross as the same bytes."""

    def __init__(self, data):
        self._data = data

    def __eq__(self, other):
        return _bytes(self._data) == _bytes(other._data)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(_bytes(self._data)[0])

    def __repr__(self):
        return repr(self._data)[:1000]


def box(shape, dtype, low=None, high=None):
    """A Box as plain data. Without bounds it has the dtype's limits. None for a dtype that is not a number or bool."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf":
        return None
    if low is None:
        low, high = _limits(dtype)
    low, high = (np.array(np.broadcast_to(bound, shape)) for bound in (low, high))
    data = {"kind": "Box", "shape": tuple(shape), "dtype": dtype.str}
    data["bounded_below"], data["bounded_above"] = low > -np.inf, high < np.inf
    # As arrays, also without dimensions: numpy returns scalars from such comparisons.
    data["bounded_below"], data["bounded_above"] = map(np.asarray, (data["bounded_below"], data["bounded_above"]))
    data["low"], data["high"] = low.astype(dtype), high.astype(dtype)
    return data


def foreign(value, shape, dtype):
    """A space of any other values, as plain data: the client can describe it, but not sample from it."""
    cls = type(value)
    name = "%s.%s" % (cls.__module__, cls.__qualname__)
    return {"kind": "Foreign", "class_name": name, "text": repr(value)[:1000], "dtype": dtype, "shape": shape}


def _limits(dtype):
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return False, True
    limits = np.iinfo(dtype)
    return np.array(limits.min, dtype), np.array(limits.max, dtype)


def _bytes(data):
    encoder = Encoder().add(data)
    return bytes(encoder.head), [np.ascontiguousarray(array).tobytes() for array in encoder.buffers]


def _arguments(creator):
    try:
        return list(inspect.signature(creator).parameters)
    except (TypeError, ValueError):  # written in C, or not callable
        return []


def _is_seed(name):
    return "seed" in name or name in ("random_state", "random", "rng")


def _with_version(name):
    """The library's name, with its version if it states one."""
    for module in (name, name + "._metadata"):
        version = getattr(sys.modules.get(module), "__version__", None)
        if isinstance(version, str):
            return "%s %s" % (name, version)
    return name
