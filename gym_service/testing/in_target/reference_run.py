"""Plays an env inside its own interpreter, by path, with nothing of gym-service: what the remote play must equal.

Contract::

    PYTHON reference_run.py TASKS OUTPUTS

Both are JSON: a list with one item for each env, in order. A task has a ``recipe`` (``id`` or ``entry_point``,
``imports``, ``kwargs``, ``api``, ``render_mode``, ``max_episode_steps``, ``wrappers``, ``vectorized``) and either of:

- ``plays``, a list of plans (see ``trajectory.run_episode_plan``; a number for ``actions`` means so many samples), with
  ``options`` (null, or what to try reset with after the plays) and ``until`` (null, or the number of the one record to
  give in full). The output: ``facts``, ``unready`` (what a step before the first reset gives, where that is refused),
  ``actions`` of each play, ``records`` of all of them, ``optioned`` (what that reset gave), ``full`` (an array's bytes
  in hex).
- ``calls``, the calls of a trace: pairs of a name and arguments, with ``digest`` (hex, to go on from) and ``shown``
  (null, or the number of the one call whose results to give as items). The output: ``facts``, ``answers`` (the summary
  of each call in hex, and what was raised), ``digest``, ``items`` ((path, kind, content, an array's bytes in hex)).

Either output has a ``failure``: a traceback, if the env could not be made.

Says what an old gym's answers mean in Gymnasium's terms, and says it independently of the adapters that it is the
measure of. Python 3.6 and up, with numpy and the target's gym; never knows gym-service.
"""

import copy
import faulthandler
import importlib
import importlib.util
import inspect
import json
import os
import sys
import traceback
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN_SPACES = {
    "Box": ("shape", "dtype", "low", "high"),
    "Discrete": ("n", "start"),
    "MultiDiscrete": ("shape", "dtype", "nvec", "start"),
    "MultiBinary": ("shape", "n"),
    "Text": ("min_length", "max_length", "character_list"),
    "Tuple": ("spaces",),
    "Dict": ("spaces",),
    "Sequence": ("feature_space", "stack"),
    "Graph": ("node_space", "edge_space"),
    "OneOf": ("spaces",),
}


def main(tasks_path, outputs_path):
    faulthandler.enable()  # a simulator that crashes leaves its stack in the output
    # This file's own neighbours would shadow modules of the simulator's.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != HERE]
    warnings.simplefilter("ignore")
    # Where there is no display it gets the renderer that a server gets.
    load_file("offscreen", HERE, os.pardir, os.pardir, "server", "offscreen.py").watch_imports()
    trajectory = load_file("trajectory", HERE, "trajectory.py")
    with open(tasks_path, encoding="utf-8") as file:
        outputs = [done(trajectory, task) for task in json.load(file)]
    with open(outputs_path, "w", encoding="utf-8") as file:
        json.dump(outputs, file)


def done(trajectory, task):
    """The output of a task."""
    output = {"facts": {}, "unready": [], "actions": [], "records": [], "optioned": [], "full": "", "failure": ""}
    output.update({"answers": [], "items": [], "digest": ""})
    try:
        recipe = dict(task["recipe"], kwargs=trajectory.from_data(task["recipe"]["kwargs"]))
        side = made(trajectory.with_objects(recipe, named))
    except Exception:  # noqa: BLE001 - whatever an env raises while it is made is the outcome
        output["failure"] = traceback.format_exc()
    else:
        (replay if "calls" in task else play)(trajectory, side, task, output)
    return output


def load_file(name, *path):
    """A module by its path, whatever stands on sys.path."""
    spec = importlib.util.spec_from_file_location("gym_service_" + name, os.path.join(*path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def play(trajectory, side, task, output):
    """All that the task asks, on one env, as one user would."""
    output["facts"] = facts(trajectory, side)
    if output["facts"]["enforces_order"]:
        output["unready"] = trajectory.outcome(lambda: side.step(None))
    reset_env, step_env = trajectory.following_observations(side.reset, side.step)
    reset = lambda seed, data: reset_env(seed, trajectory.from_data(data))  # noqa: E731
    step = lambda data: step_env(trajectory.from_data(data, side.graph_class()))  # noqa: E731
    for plan in task["plays"]:
        if isinstance(plan["actions"], int):
            plan["actions"] = samples(trajectory, side.env.action_space, plan)
        output["actions"].append(plan["actions"])
        for record in trajectory.run_episode_plan(plan, reset, step, side.render):
            output["records"].append(record[:4])
            if len(output["records"]) - 1 == task["until"]:
                output["full"] = trajectory.full_bytes(record[4])
                return
    if task["options"] is not None:
        output["optioned"] = trajectory.outcome(lambda: reset(1, task["options"]))
    side.env.close()


def replay(trajectory, side, task, output):
    """Make the calls of a trace."""
    output["facts"] = facts(trajectory, side)
    load_file("trace_calls", HERE, "trace_calls.py").replay(trajectory, side, task, output, named)


def samples(trajectory, space, plan):
    """Actions as data. Of a copy of the space: the env may draw from its own."""
    space = copy.deepcopy(space)
    space.seed(plan["seed"])
    return [trajectory.to_data(space.sample()) for _ in range(plan["actions"])]


# -- making ----------------------------------------------------------------------------------------------------------


def made(recipe):
    """The env, with the API that it speaks."""
    for name in recipe["imports"]:
        importlib.import_module(name)
    for name in recipe.get("setup", ()):
        named(name)()
    library, env = from_entry_point(recipe) if recipe["entry_point"] else from_registry(recipe)
    for name in recipe["wrappers"]:
        env = named(name["wrapper"])(env, **name["kwargs"]) if isinstance(name, dict) else named(name)(env)
    return (NewSide if speaks_today(env, library) else OldSide)(env, library, recipe["render_mode"])


def is_new(library):
    version = tuple(int(part) for part in library.__version__.split(".")[:2])
    return library.__name__ == "gymnasium" or version >= (0, 26)


def kwargs_of(recipe, library):
    kwargs = dict(recipe["kwargs"])
    if is_new(library) and recipe["render_mode"]:
        spec = library.envs.registration.spec(recipe["id"].rpartition(":")[2])
        creator = named(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        is_converted = kwargs.get("apply_api_compatibility") or getattr(spec, "apply_api_compatibility", None)
        if is_converted or takes_mode(creator) or not renders_by_call(creator):
            kwargs["render_mode"] = recipe["render_mode"]
    return kwargs


def takes_mode(creator):
    """Whether an env is told its mode where it is made."""
    if inspect.isclass(creator) and creator.__init__ is object.__init__:
        return False
    takes = inspect.signature(creator.__init__ if inspect.isclass(creator) else creator).parameters.values()
    return any(one.name == "render_mode" or one.kind == one.VAR_KEYWORD for one in takes)


def renders_by_call(env):
    """Whether an env, or its class, is told its mode in each render."""
    takes = inspect.signature(env.render).parameters.values() if hasattr(env, "render") else ()
    return any(one.name == "mode" or one.kind == one.VAR_KEYWORD for one in takes)


def speaks_today(env, library):
    """Whether its reset takes options, as today's API has it; from 0.22 to 0.25 it took return_info as well."""
    takes = inspect.signature(env.unwrapped.reset if hasattr(env, "unwrapped") else env.reset).parameters
    if "return_info" in takes:
        return not all(passes_return_info_on(layer) for layer in layers(env))
    takes_anything = any(one.kind == one.VAR_KEYWORD for one in takes.values())
    return is_new(library) and ("options" in takes or takes_anything)


def passes_return_info_on(env):
    takes = inspect.signature(env.reset).parameters
    return "return_info" in takes or any(one.kind == one.VAR_KEYWORD for one in takes.values())


def layers(env):
    while is_wrapper(env):
        yield env
        env = env.env
    yield env


def from_registry(recipe):
    module, _, env_id = recipe["id"].rpartition(":")
    if module:
        importlib.import_module(module)
    first_error = None
    for name in [recipe["api"]] if recipe["api"] else ["gymnasium", "gym"]:
        try:
            library = importlib.import_module(name)
        except ImportError as error:
            first_error = first_error or error
            continue
        limit = recipe["max_episode_steps"]
        try:
            if limit is None:
                make = maker_of_vector_envs(library) if recipe.get("vectorized") else library.make
                return library, make(env_id, **kwargs_of(recipe, library))
            spec = copy.deepcopy(library.envs.registration.spec(env_id))
            spec.max_episode_steps = None if limit == -1 else limit
            return library, spec.make(**kwargs_of(recipe, library))
        except library.error.UnregisteredEnv as error:
            first_error = error
    raise first_error


def maker_of_vector_envs(library):
    return getattr(library, "make_vec", None) or library.vector.make


def from_entry_point(recipe):
    creator, kwargs = named(recipe["entry_point"]), dict(recipe["kwargs"])
    if recipe["render_mode"] and takes_mode(creator):
        kwargs["render_mode"] = recipe["render_mode"]
    env = creator(**kwargs)
    roots = [cls.__module__.split(".")[0] for cls in type(env).__mro__]
    name = recipe["api"] or next((name for name in ("gymnasium", "gym") if name in roots), "gymnasium")
    library = importlib.import_module(name)
    if recipe["render_mode"] and "render_mode" not in kwargs and not renders_by_call(env):
        env = creator(**dict(kwargs, render_mode=recipe["render_mode"]))  # for what Python says of it
    limit = recipe["max_episode_steps"]
    if limit is not None:
        env = env.env if type(env) is library.wrappers.TimeLimit else env
        env = env if limit == -1 else library.wrappers.TimeLimit(env, max_episode_steps=limit)
    return library, env


def named(reference):
    module, _, path = reference.partition(":")
    found = importlib.import_module(module)
    for attribute in path.split("."):
        found = getattr(found, attribute)
    return found


# -- playing ---------------------------------------------------------------------------------------------------------


class NewSide:
    """Today's API: what it returns is what it is."""

    def __init__(self, env, library, render_mode):
        self.env = env
        self.library = library
        self.render_mode = getattr(env, "render_mode", None)
        self.render = env.render
        if render_mode and self.render_mode != render_mode and renders_by_call(env):
            self.render_mode, self.render = render_mode, lambda: env.render(mode=render_mode)

    def graph_class(self):
        return getattr(sys.modules.get(self.library.__name__ + ".spaces.graph"), "GraphInstance", None)

    def reset(self, seed, options):
        given = {"seed": seed, "options": options}
        return self.env.reset(**{name: value for name, value in given.items() if value is not None})

    def step(self, action):
        result = self.env.step(action)
        return modern(result) if isinstance(result, (tuple, list)) and len(result) == 4 else result


class OldSide(NewSide):
    """The APIs before gym 0.26: a reset may take a seed, and may give an info, if it knows how."""

    def __init__(self, env, library, render_mode):
        NewSide.__init__(self, env, library, render_mode)
        self.render_mode = render_mode
        self.takes = inspect.signature(env.unwrapped.reset if hasattr(env, "unwrapped") else env.reset).parameters

    def reset(self, seed, options):
        given = {name: value for name, value in (("seed", seed), ("options", options)) if name in self.takes}
        if seed is not None and "seed" not in given:
            self.env.seed(seed)
        if "return_info" in self.takes:
            return self.env.reset(return_info=True, **given)
        result = self.env.reset(**given)
        if "options" in self.takes:
            return result if self.is_todays(result) else (result, {})
        is_pair = is_new(self.library) and isinstance(result, tuple) and len(result) == 2
        return result if is_pair and not self.is_observation(result) else (result, {})

    def is_todays(self, result):
        """Whether a reset that takes options, under an older library, has returned more than an observation."""
        if isinstance(result, tuple):
            return type(self.env.observation_space).__name__ != "Tuple"
        return result is None or (isinstance(result, list) and len(result) == 2 and isinstance(result[1], dict))

    def is_observation(self, pair):
        """Whether a pair is an observation of an env that gives no info, under a library whose envs give one."""
        space = self.env.observation_space
        parts = list(space.spaces) if type(space).__name__ == "Tuple" else []
        if len(parts) == 2:
            keys = set(parts[1].spaces) if type(parts[1]).__name__ == "Dict" else None
            if not isinstance(pair[1], dict) or (keys is not None and keys <= set(pair[1])):
                return True
        bare = self.env.unwrapped if hasattr(self.env, "unwrapped") else self.env
        is_of_old = hasattr(type(bare), "seed") or "render.modes" in (getattr(bare, "metadata", None) or {})
        return is_of_old and not lies_in(space, pair[0])


def lies_in(space, value):
    try:
        return value in space
    except Exception:  # noqa: BLE001 - a space may raise anything at what it does not hold
        return False


def is_wrapper(env):
    return any(cls.__name__ == "Wrapper" and cls.__module__.endswith(".core") for cls in type(env).__mro__)


def modern(result):
    """Four values mean: an end by the clock is truncated, any other is terminated; several ends are kept."""
    observation, reward, finished, info = result
    by_the_clock = isinstance(info, dict) and is_true(dict.get(info, "TimeLimit.truncated"))
    if type(finished).__name__ not in ("bool", "bool_") and getattr(finished, "size", 0) != 1:
        return observation, reward, finished, by_the_clock, info
    if not finished or not by_the_clock:
        return observation, reward, finished, False, info
    is_array = type(finished).__name__ == "ndarray"  # which may have any dtype; a scalar has one
    unfinished = copy.copy(finished) if is_array else type(finished)(False)
    if is_array:
        unfinished[...] = 0
    return observation, reward, unfinished, True, info


def is_true(value):
    return bool(value) if getattr(value, "size", 1) == 1 and value is not None else False


# -- facts -----------------------------------------------------------------------------------------------------------


def facts(trajectory, side):
    """What there is to know of the env before its first reset."""
    env, wrappers = side.env, []
    while is_wrapper(env):
        wrappers.append(type(env).__name__)
        env = env.env
    spec = getattr(side.env, "spec", None)
    takes_options = not isinstance(side, OldSide) or "options" in side.takes
    metadata = getattr(side.env, "metadata", None) or {}
    return {
        "api": "%s %s" % (side.library.__name__, side.library.__version__),
        "python": sys.version.split()[0],
        "is_new": not isinstance(side, OldSide),
        "enforces_order": "OrderEnforcing" in wrappers,
        "takes_options": takes_options,
        "nondeterministic": bool(getattr(spec, "nondeterministic", False)),
        "render_mode": side.render_mode,
        "render_modes": [str(mode) for mode in metadata.get("render_modes") or metadata.get("render.modes") or []],
        "observation_space": [item[:3] for item in space_items(trajectory, side.env.observation_space)],
        "action_space": [item[:3] for item in space_items(trajectory, side.env.action_space)],
        "metadata": [item[:3] for item in trajectory.items(dict(metadata), "$.metadata")],
    }


def space_items(trajectory, space, path="$"):
    """What a space is, attribute by attribute. ``client`` spaces are looked at by the very same function."""
    known = [cls.__name__ for cls in type(space).__mro__ if cls.__module__.split(".")[0] in ("gym", "gymnasium")]
    kind = next((name for name in known if name in KNOWN_SPACES), None)
    if kind is None:  # of a class that only the simulator has
        name = getattr(space, "class_name", trajectory.type_name(space))
        dtype = None if space.dtype is None else importlib.import_module("numpy").dtype(space.dtype).str
        return [(path, name, "of dtype %s and shape %s" % (dtype, space.shape), None)]
    found = [(path, kind, "", None)]
    for name in KNOWN_SPACES[kind]:
        found += attribute_items(trajectory, space, name, "%s.%s" % (path, name))
    return found


def attribute_items(trajectory, space, name, path):
    value = getattr(space, name, None)
    if name in ("spaces", "feature_space", "node_space", "edge_space") and value is not None:
        parts = value.items() if hasattr(value, "items") else enumerate(value) if name == "spaces" else [("", value)]
        parts = [("%s[%s]" % (path, ascii(key)) if name == "spaces" else path, part) for key, part in parts]
        return [item for inner, part in parts for item in space_items(trajectory, part, inner)]
    numpy = importlib.import_module("numpy")
    if name == "dtype":
        value = numpy.dtype(value).str
    elif name == "character_list":
        value = "".join(getattr(space, "_charlist", None) or getattr(space, "_char_list", None) or value)
    elif name == "start" and value is None:  # older than the attribute
        value = numpy.zeros_like(space.nvec) if hasattr(space, "nvec") else 0
    elif name == "stack":
        value = bool(value)
    if name in ("n", "start") and numpy.ndim(value) == 0:
        value = int(value)
    elif name in ("n", "shape"):
        value = tuple(int(length) for length in value)
    return list(trajectory.items(value, path))


if __name__ == "__main__":
    main(*sys.argv[1:])
