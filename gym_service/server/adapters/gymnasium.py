"""The adapter for today's API: gymnasium, gym 0.26, and any env whose reset() takes options.

Knows the calls of an env. Never knows the wire. Python 3.6 and up. The adapters of the older APIs inherit from this
one. It passes on whatever an env of today's API returns, in any form.
"""

import os
import platform
import sys

import numpy as np

from gym_service.protocol.enum_classes import is_class
from gym_service.protocol.space_spec import describe
from gym_service.protocol.values import module_name
from gym_service.server import refusals, space_building
from gym_service.server.adapters import attributes, done
from gym_service.server.adapters.signatures import Accepted, accepted_by_creator, accepted_by_reset, takes_one


class GymnasiumAdapter:
    """Holds the env as its library made it, registered wrappers included.

    ``render_mode`` is the client's. With ``by_call`` the env was made without it and takes it in each render().
    """

    count = None  # this adapter holds one env, not a batch
    holds_agents = False
    error_context = ""
    _library_of = (None, "")  # cached: a class of env, and the name of its library

    def __init__(self, env, render_mode, by_call):
        self.env = env
        self._accepts = accepted_by_reset(env)
        self._outer_reset, self._required = None, []  # cached: inspecting a signature takes longer than many a reset
        self._renders_by_call = by_call
        self.render_mode = render_mode if by_call else getattr(env, "render_mode", None)

    @property
    def graph_class(self):
        """The library's GraphInstance, so that an action for a Graph space is what the env expects; else None."""
        return getattr(self._library_module("spaces.graph"), "GraphInstance", None)

    @property
    def stepper(self):
        """The object whose ``step`` a batch calls: the env itself, since a batch converts results only if needed."""
        return self.env

    def space_from(self, data):
        """A space of the env's own library, from its plain data. Raises Refused if the library has no such space."""
        library = self._library_module("spaces")
        return space_building.build(library or sys.modules.get("gymnasium.spaces", sys.modules.get("gym.spaces")), data)

    def space(self, name):
        """The space of that name, in a form that can be compared with another env's."""
        return getattr(self.env, name)

    def reset(self, seed, options, *args, **more):
        """The result of the env's reset. Omits seed and options if they are None: many resets take no options.

        If the outermost reset requires them, it gets them as None, as from Gymnasium's wrappers and vector envs.
        """
        given = {"seed": seed, "options": options}
        if seed is not None and "seed" not in self._accepts:
            self._seed(given.pop("seed"))
        reset = self.env.reset
        if reset != self._outer_reset:
            self._outer_reset, self._required = reset, Accepted(reset).required
        more.update((name, given[name]) for name in given if given[name] is not None or name in self._required)
        return reset(*args, **more)

    def step(self, action, *args, **more):
        """Five values: observation, reward, terminated, truncated, info. A result of another length is unchanged."""
        result = self.env.step(action, *args, **more)
        if type(result) is tuple and len(result) == 5:
            return result
        return self.even_out(result)

    def even_out(self, result):
        """Convert a step's result that is not a tuple of five. Its form decides, not a version of the library."""
        if isinstance(result, (tuple, list)) and len(result) == 4:
            return done.split(result)
        return result

    def render(self, *args, **more):
        """The env's rendering, in the mode that it was made with or that each call passes."""
        if self._renders_by_call and not args:  # the first argument of an old render() is the mode
            more.setdefault("mode", self.render_mode)
        return self._render(*args, **more)

    def close(self):
        """Close the env."""
        self.env.close()

    def get(self, name):
        """(True, None) for an attribute that is callable, else (False, value); an Enum class counts as a value."""
        value = attributes.get(self.env, name)
        return (True, None) if callable(value) and not is_class(value) else (False, value)

    def set(self, name, value, force):
        """Set an attribute where it exists; with ``force`` else on the bare env. Returns whether it was set."""
        if name in attributes.OF_THE_BARE_ENV:
            is_space = name in ("observation_space", "action_space") and value is not None
            value = self.space_from(value) if is_space else value
            setattr(attributes.bare(self.env), name, value)
            return True
        return attributes.set_(self.env, name, value, force)

    def has(self, name):
        """Whether the env or one of its wrappers has the attribute."""
        return attributes.has(self.env, name)

    def names(self):
        """The public names of the env and its wrappers."""
        return attributes.names(self.env)

    def call(self, name, args, kwargs):
        """Call a method of the env or of one of its wrappers."""
        return attributes.get(self.env, name)(*args, **kwargs)

    def describe(self):
        """Everything that the client must know before the first reset."""
        return {
            "observation_space": self._described("observation_space"),
            "action_space": self._described("action_space"),
            "metadata": self.metadata(),
            "render_mode": self.current_render_mode(),
            "spec": self._spec(),
            "target": self._target(),
        }

    def current_render_mode(self):
        """The mode in which the env renders: its own attribute, unless each render() takes the mode."""
        return self.render_mode if self._renders_by_call else getattr(self.env, "render_mode", self.render_mode)

    def _described(self, name):
        space = getattr(self.env, name)
        return None if space is None else describe(space, "$." + name)  # some envs know it only after the first reset

    def metadata(self):
        """The env's metadata."""
        return dict(getattr(self.env, "metadata", None) or {})

    def _spec(self):
        spec = getattr(self.env, "spec", None)
        # Not the limit in a spec: a limit is what a TimeLimit applies, or what the env itself states.
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
            "processors": _processors(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "api": "%s %s" % (library.__name__, library.__version__) if library else "none",
            # Not its repr: that runs code of the simulator, which can fail before the first reset.
            "env": type(attributes.bare(self.env)).__name__,
            "takes_options": self.takes_options(),
        }

    def takes_options(self):
        """Whether reset() takes options, in every wrapper and in the bare env."""
        return all("options" in Accepted(layer.reset) for layer in attributes.layers(self.env))

    def _render(self, *args, **more):
        # gym's wrappers pass arguments on, Gymnasium's take none.
        is_wrapped = (args or more) and self._library_module() is sys.modules.get("gymnasium", ())
        return (attributes.bare(self.env) if is_wrapped else self.env).render(*args, **more)

    def _seed(self, seed):
        """Seed an env whose reset() takes no seed. Raises Refused if it has no seed() that takes one either."""
        has_seed = self.has("seed")
        if has_seed and takes_one(attributes.get(self.env, "seed")):
            attributes.get(self.env, "seed")(seed)
            return
        spec = getattr(self.env, "spec", None)
        creators = [type(attributes.bare(self.env)), getattr(spec, "entry_point", None)]
        taken = [accepted_by_creator(creator) for creator in creators if callable(creator)]
        names = sorted({name for accepted in taken for name in accepted.names if "seed" in name})
        advice = "\n  try: kwargs = { %s = %r }, which its constructor takes" % (names[0], seed) if names else ""
        raise refusals.api_mismatch(
            "reset(seed=%r): this env cannot be seeded: its reset() takes no seed, and %s%s"
            % (seed, "its seed() takes none either" if has_seed else "it has no seed()", advice)
        )

    def _library_module(self, inner=""):
        """The module of gymnasium or gym that the env belongs to, if it belongs to one."""
        cls, name = self._library_of
        if cls is not type(self.env):  # cached, since each call needs it
            roots = {module_name(one).split(".")[0] for one in type(self.env).__mro__}
            name = next((name for name in ("gymnasium", "gym") if name in roots), "")
            self._library_of = type(self.env), name
        return sys.modules.get(".".join(filter(None, (name, inner))))


def _processors():
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
