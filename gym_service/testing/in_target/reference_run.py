"""Plays an env inside its own interpreter, by path, with nothing of gym-service: what the remote play must equal.

Contract::

    PYTHON reference_run.py TASKS OUTPUTS

Both are files of JSON, a list with one for each env, in that order. A task: ``recipe`` (``id`` or ``entry_point``,
``imports``, ``kwargs``, ``api``, ``render_mode``, ``max_episode_steps``, ``wrappers``), ``plays`` (a list of jobs, see
``canon.play``; a number for ``actions`` means so many samples), ``options`` (null, or what to try reset with after the
plays), ``until`` (null, or the number of the one moment to give in full). Its output: ``facts``, ``unready`` (what a
step before the first reset gives, where that is refused), ``actions`` of each play, ``moments`` of all of them,
``optioned`` (what that reset gave), ``full`` (an array's bytes in hex), ``failure`` (a traceback, if the env could not
be made).

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
    trajectory = load_trajectory()
    with open(tasks_path, encoding="utf-8") as file:
        outputs = [done(trajectory, task) for task in json.load(file)]
    with open(outputs_path, "w", encoding="utf-8") as file:
        json.dump(outputs, file)


def done(trajectory, task):
    """The output of a task."""
    output = {"facts": {}, "unready": [], "actions": [], "records": [], "optioned": [], "full": "", "failure": ""}
    try:
        side = made(dict(task["recipe"], kwargs=trajectory.from_data(task["recipe"]["kwargs"])))
    except Exception:  # noqa: BLE001 - whatever an env raises while it is made is the outcome
        output["failure"] = traceback.format_exc()
    else:
        play(trajectory, side, task, output)
    return output


def load_trajectory():
    spec = importlib.util.spec_from_file_location("gym_service_trajectory", os.path.join(HERE, "trajectory.py"))
    trajectory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trajectory)
    return trajectory


def play(trajectory, side, task, output):
    """All that the task asks, on one env, as one user would."""
    output["facts"] = facts(trajectory, side)
    if output["facts"]["enforces_order"]:
        output["unready"] = trajectory.outcome(lambda: side.step(None))
    reset = lambda seed, data: side.reset(seed, trajectory.from_data(data))  # noqa: E731
    step = lambda data: side.step(trajectory.from_data(data, side.graph_class()))  # noqa: E731
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
    library, env = from_entry_point(recipe) if recipe["entry_point"] else from_registry(recipe)
    for name in recipe["wrappers"]:
        env = named(name)(env)
    if is_new(library):
        return NewSide(env, library)
    return OldSide(env, library, recipe["render_mode"])


def is_new(library):
    version = tuple(int(part) for part in library.__version__.split(".")[:2])
    return library.__name__ == "gymnasium" or version >= (0, 26)


def kwargs_of(recipe, library):
    kwargs = dict(recipe["kwargs"])
    if is_new(library) and recipe["render_mode"]:
        kwargs["render_mode"] = recipe["render_mode"]
    return kwargs


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
                return library, library.make(env_id, **kwargs_of(recipe, library))
            spec = copy.deepcopy(library.envs.registration.spec(env_id))
            spec.max_episode_steps = None if limit == -1 else limit
            return library, spec.make(**kwargs_of(recipe, library))
        except library.error.UnregisteredEnv as error:
            first_error = error
    raise first_error


def from_entry_point(recipe):
    creator, kwargs = named(recipe["entry_point"]), dict(recipe["kwargs"])
    takes = inspect.signature(creator.__init__ if inspect.isclass(creator) else creator).parameters.values()
    if recipe["render_mode"] and any(one.name == "render_mode" or one.kind == one.VAR_KEYWORD for one in takes):
        kwargs["render_mode"] = recipe["render_mode"]
    env = creator(**kwargs)
    roots = [cls.__module__.split(".")[0] for cls in type(env).__mro__]
    name = recipe["api"] or next((name for name in ("gymnasium", "gym") if name in roots), "gymnasium")
    library = importlib.import_module(name)
    if recipe["render_mode"] and "render_mode" not in kwargs and is_new(library):
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
    """gymnasium, and gym from 0.26 on."""

    def __init__(self, env, library):
        self.env = env
        self.library = library
        self.render = env.render
        self.render_mode = getattr(env, "render_mode", None)

    def graph_class(self):
        return getattr(sys.modules.get(self.library.__name__ + ".spaces.graph"), "GraphInstance", None)

    def reset(self, seed, options):
        given = {"seed": seed, "options": options}
        result = self.env.reset(**{name: value for name, value in given.items() if value is not None})
        is_pair = isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[1], dict)
        return result if is_pair else (result, {})

    def step(self, action):
        return modern(self.env.step(action))


class OldSide(NewSide):
    """gym before 0.26: from 0.22 on a reset may take a seed and give an info, if it knows how."""

    def __init__(self, env, library, render_mode):
        NewSide.__init__(self, env, library)
        self.render = lambda: env.render(mode=render_mode)
        self.render_mode = render_mode
        parameters = inspect.signature(env.unwrapped.reset).parameters.values()
        takes_all = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
        all_names = ["seed", "return_info", "options"]
        version = tuple(int(part) for part in library.__version__.split(".")[:2])
        takes = all_names if takes_all else [name for name in all_names if name in [one.name for one in parameters]]
        self.takes = takes if version >= (0, 22) else []

    def reset(self, seed, options):
        given = {name: value for name, value in (("seed", seed), ("options", options)) if name in self.takes}
        if seed is not None and "seed" not in given:
            self.env.seed(seed)
        if "return_info" not in self.takes:
            return self.env.reset(**given), {}
        return self.env.reset(return_info=True, **given)


def modern(result):
    """Four values mean: an end by the clock is truncated, and any other is terminated."""
    if len(result) == 5:
        return result
    observation, reward, done, info = result
    by_the_clock = bool(done) and bool(info.get("TimeLimit.truncated"))
    return observation, reward, bool(done) and not by_the_clock, by_the_clock, info


# -- facts -----------------------------------------------------------------------------------------------------------


def facts(trajectory, side):
    """What there is to know of the env before its first reset."""
    env, wrappers = side.env, []
    while any(cls.__name__ == "Wrapper" and cls.__module__.endswith(".core") for cls in type(env).__mro__):
        wrappers.append(type(env).__name__)
        env = env.env
    spec = getattr(side.env, "spec", None)
    takes_options = not isinstance(side, OldSide) or "options" in side.takes
    metadata = getattr(side.env, "metadata", None) or {}
    return {
        "api": "%s %s" % (side.library.__name__, side.library.__version__),
        "python": sys.version.split()[0],
        "is_new": is_new(side.library),
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
