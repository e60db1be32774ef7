"""The adapter for gymnasium, every version, and for gym 0.26, which has the same API.

Knows the calls of an env. Never knows the wire. Python 3.6 and up. The other adapters inherit from this one.
"""

import inspect
import os
import platform
import sys

import numpy as np

from gym_service.protocol.space_spec import describe
from gym_service.server.adapters import attributes


class GymnasiumAdapter:
    """Holds the env as its library made it, registered wrappers included."""

    makes_with_render_mode = True
    count = None  # it holds one env, and no batch
    error_context = ""

    def __init__(self, env, render_mode):
        self.env = env
        self._reset, self._required = None, []  # to look at a signature takes longer than many a reset
        self.render_mode = getattr(env, "render_mode", None) if self.makes_with_render_mode else render_mode

    @property
    def graph_class(self):
        """The library's GraphInstance, so that an action for a Graph space is what the env expects; else None."""
        return getattr(self._library_module("spaces.graph"), "GraphInstance", None)

    def reset(self, seed, options):
        """The observation and the info. What is None is left out: many simulators' reset takes no options.

        Unless it cannot do without: some demand both, and Gymnasium's wrappers and vector envs give them both.
        """
        given = {"seed": seed, "options": options}
        reset = self.env.reset
        if reset != self._reset:
            self._reset, self._required = reset, _required_parameters(reset)
        result = reset(**{name: given[name] for name in given if given[name] is not None or name in self._required})
        return result if _is_pair_with_info(result) else (result, {})

    def step(self, action):
        """Five values: observation, reward, terminated, truncated, info."""
        return normalize_step(self.env.step(action))

    def render(self):
        """Whatever the env renders in the mode it was made with."""
        return self.env.render()

    def close(self):
        """Close the env."""
        self.env.close()

    def get(self, name):
        """(True, None) for an attribute that can be called, else (False, its value)."""
        value = attributes.get(self.env, name)
        return (True, None) if callable(value) else (False, value)

    def set(self, name, value, force):
        """Set an attribute where it is; with ``force`` on the bare env where it is nowhere. Returns whether it was."""
        return attributes.set_(self.env, name, value, force)

    def has(self, name):
        """Whether the env or one of its wrappers has the attribute."""
        return attributes.owner(self.env, name) is not None

    def call(self, name, args, kwargs):
        """Call a method of the env or of one of its wrappers."""
        return attributes.get(self.env, name)(*args, **kwargs)

    def describe(self):
        """All that the client must know before the first reset."""
        return {
            "observation_space": describe(self.env.observation_space, "$.observation_space"),
            "action_space": describe(self.env.action_space, "$.action_space"),
            "metadata": self.metadata(),
            "render_mode": self.render_mode,
            "spec": self._spec(),
            "target": self._target(),
        }

    def metadata(self):
        """The env's metadata."""
        return dict(getattr(self.env, "metadata", None) or {})

    def _spec(self):
        spec = getattr(self.env, "spec", None)
        # Not what a spec claims: a limit is what a TimeLimit applies, or what the env itself says of itself.
        has_limit = attributes.owner(self.env, "_max_episode_steps") is not None
        return {
            "id": getattr(spec, "id", None),
            "reward_threshold": getattr(spec, "reward_threshold", None),
            "nondeterministic": bool(getattr(spec, "nondeterministic", False)),
            "max_episode_steps": attributes.get(self.env, "_max_episode_steps") if has_limit else None,
        }

    def _target(self):
        library = self._library_module()
        return {
            "pid": os.getpid(),
            "executable": sys.executable,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "api": "%s %s" % (library.__name__, library.__version__) if library else "none",
            # Not its repr: that is code of the simulator, and some fails before the first reset.
            "env": type(attributes.bare(self.env)).__name__,
            "takes_options": self.takes_options(),
        }

    def takes_options(self):
        """Whether reset() takes options, all the way through the wrappers to the bare env."""
        return all("options" in reset_takes(layer) for layer in attributes.layers(self.env))

    def _library_module(self, inner=""):
        """The module of gymnasium or gym that the env belongs to, if it belongs to one."""
        roots = {cls.__module__.split(".")[0] for cls in type(self.env).__mro__}
        name = next((name for name in ("gymnasium", "gym") if name in roots), "")
        return sys.modules.get(".".join(filter(None, (name, inner))))


def reset_takes(env):
    """Which of these keywords its reset() has a place for; all of them, where its signature is not to be had."""
    everything = {"seed", "return_info", "options"}
    try:
        parameters = inspect.signature(env.reset).parameters.values()
    except (TypeError, ValueError):  # written in C, or decorated by something that hides it
        return everything
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        return everything
    return everything & {parameter.name for parameter in parameters}


def normalize_step(result):
    """A step's result as five values. The tuple decides, not a version: old envs live on under new wrappers.

    Four values come from before gym 0.26: ``done``, and in the info ``TimeLimit.truncated``, which stays there.
    What is no tuple is told in the words of Gymnasium's own checker: a text of five letters is no five values.
    """
    if not isinstance(result, (tuple, list)):
        raise AssertionError("Expects step result to be a tuple, actual type: %s" % type(result))
    if len(result) == 5:
        return result
    if len(result) != 4:
        raise ValueError("step() returned %d values; an env returns five, or four before gym 0.26" % len(result))
    observation, reward, done, info = result
    truncated = bool(done) and bool(info.get("TimeLimit.truncated", False))
    return observation, reward, bool(done) and not truncated, truncated, info


def _required_parameters(reset):
    """The parameters without a default."""
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):  # written in C
        return []
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty]


def _is_pair_with_info(result):
    return isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[1], dict)
