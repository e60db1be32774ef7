"""The adapter for the APIs before gym 0.26, under whichever library such an env runs.

Knows the two older ways to reset and to render. Never knows the wire. Python 3.6 and up.

The API is decided for each env, by the parameters of its reset(), since old envs also run under gym 0.26 and under
gymnasium. Up to gym 0.21 reset() takes nothing and returns the observation, env.seed() seeds, and render() takes the
mode. From 0.22 to 0.25 reset() takes a seed, and returns an info on request. docs/conversions.md documents the one
conversion of each. A result of any other form is refused.
"""

import warnings

from gym_service.server import refusals
from gym_service.server.adapters import attributes, done
from gym_service.server.adapters.gymnasium import GymnasiumAdapter
from gym_service.server.adapters.resemblance import resembles
from gym_service.server.adapters.signatures import Accepted, accepted_by_render, accepted_by_reset


def adapter_class(env, is_new):
    """The adapter class for an env; ``is_new``: whether its library has today's API (gymnasium, gym from 0.26 on).

    An env has today's API if its reset() takes options but no return_info, and its library has that API too. Under an
    older library, the result of such a reset() decides. If reset() takes any keyword, the library decides. If reset()
    takes both options and return_info, it has today's API if its wrappers do not pass return_info on, as Gymnasium's do
    not.
    """
    accepted = accepted_by_reset(env)
    takes_return_info = "return_info" in accepted.names and all(
        "return_info" in Accepted(layer.reset) for layer in attributes.layers(env)
    )
    if takes_return_info or not (is_new or "options" in accepted.names):
        return OldApiAdapter
    if "options" in accepted:
        return GymnasiumAdapter if is_new else EarlyAdapter
    return MovedAdapter


class OldApiAdapter(GymnasiumAdapter):
    """Holds an env of an API before gym 0.26. ``TimeLimit.truncated`` stays in the info; reset's info may be empty."""

    def __init__(self, env, render_mode, by_call):
        super().__init__(env, render_mode, by_call)
        takes_mode = "mode" in accepted_by_render(attributes.bare(env))
        made_with = getattr(env, "render_mode", None)
        self.render_mode = made_with if render_mode is None else render_mode
        self._renders_by_call = takes_mode and self.render_mode != made_with
        self._needs_mode = takes_mode and self.render_mode is None

    def reset(self, seed, options, *args, **more):
        """(observation, info). Without a seed, the env is not seeded. Raises Refused for a result of another form."""
        given = more
        if options and not self.takes_options():
            text = "reset(options=%r): this env is of %s, and its reset() takes no options"
            raise refusals.api_mismatch(text % (options, self._target()["api"]))
        if options is not None and self.takes_options():
            given["options"] = options
        if seed is not None:
            if "seed" in self._accepts.names or ("seed" in self._accepts and not self.has("seed")):
                given["seed"] = seed
            else:
                self._seed(seed)
        if "return_info" not in self._accepts.names:
            return self._with_info(self.env.reset(*args, **given))
        result = self.env.reset(*args, return_info=True, **given)
        if isinstance(result, (tuple, list)) and len(result) == 2:
            return tuple(result)
        raise refusals.api_mismatch(
            "reset(return_info=True) returned %s; an observation and an info were due" % refusals.form_of(result)
        )

    def even_out(self, result):
        """Four values as five; five stay as they are. Raises Refused for any other form."""
        if isinstance(result, (tuple, list)) and len(result) == 4:
            return done.split(result)
        if isinstance(result, (tuple, list)) and len(result) == 5:
            return result
        text = "step() returned %s; five values were due, or the four of before gym 0.26"
        raise refusals.api_mismatch(text % refusals.form_of(result))

    def takes_options(self):
        """Whether the bare env's reset takes options; the wrappers of these versions pass their arguments on."""
        return "options" in self._accepts

    def render(self, *args, **more):
        """The env's rendering in the client's mode; without a mode None and a warning, as Gymnasium does."""
        if not self._needs_mode or args or "mode" in more:
            return super().render(*args, **more)
        text = "render() was called on an env that was made without a render_mode; it returns None"
        warnings.warn(text, stacklevel=2)
        return None

    def set(self, name, value, force):
        """As in the base class, but keeps a render mode here if each render() takes it."""
        if name != "render_mode" or not (self._renders_by_call or self._needs_mode):
            return super().set(name, value, force)
        self.render_mode, self._renders_by_call, self._needs_mode = value, value is not None, value is None
        return True

    def metadata(self):
        """The env's metadata, with Gymnasium's names beside the old ones."""
        metadata = super().metadata()
        for new, old in (("render_modes", "render.modes"), ("render_fps", "video.frames_per_second")):
            if old in metadata:
                metadata.setdefault(new, metadata[old])
        return metadata

    def _with_info(self, result):
        """Up to gym 0.25 the result is the observation, whatever its form."""
        return result, {}


class MovedAdapter(OldApiAdapter):
    """Holds an env whose reset() takes no options, under a library of today: an old env, or a new one that omits them.

    Both are common: procgen and gym-sokoban return the observation alone, and many small envs of today take nothing and
    return an observation and an info.
    """

    def _with_info(self, result):
        """Pass a pair on unless the space says that it is the observation. Any other result is the observation."""
        if not (isinstance(result, tuple) and len(result) == 2):
            return result, {}
        space = self.env.observation_space
        if resembles(space, result):
            return result, {}
        return (result, {}) if self._is_of_old() and not resembles(space, result[0]) else result

    def _is_of_old(self):
        """Whether the env has seed() or old names of render modes, as before gym 0.26."""
        bare = attributes.bare(self.env)
        return hasattr(type(bare), "seed") or "render.modes" in (getattr(bare, "metadata", None) or {})


class EarlyAdapter(OldApiAdapter):
    """Holds an env whose reset() takes options, but no return_info, under a library before gym 0.26.

    It is ahead of its library and has today's API, or it is one of gym 0.22 to 0.25 that returns only the observation.
    """

    even_out = GymnasiumAdapter.even_out

    def _with_info(self, result):
        """Pass on what is not an observation: a tuple (unless the space has tuples), a list as a pair, None."""
        if isinstance(result, tuple):
            is_observation = resembles(self.env.observation_space, result)
        else:
            is_pair = isinstance(result, list) and len(result) == 2 and isinstance(result[1], dict)
            is_observation = result is not None and not is_pair
        return (result, {}) if is_observation else result
