"""Makes an env from a recipe, and puts it into its adapter.

Knows how gymnasium and every gym make an env, and where wrappers and time limits go. Never knows the wire. Python 3.6
and up.

A recipe is a dict: ``id`` or ``entry_point``, ``argv``, ``imports``, ``setup``, ``kwargs``, ``api``,
``max_episode_steps``, ``wrappers``. Importing what it names is the design's exception to "no import by a name that a
client sent": ``permissions.py`` first checks what a client may name.
"""

import copy
import importlib
import inspect
import itertools
import sys
from functools import partial

from gym_service.protocol.values import BadValue, CannotEncode, module_name
from gym_service.server import named_objects, offscreen, other_apis, refusals
from gym_service.server.adapters import attributes, detection
from gym_service.server.adapters.old_api import adapter_class
from gym_service.server.adapters.signatures import accepted_by_creator, accepted_by_render

LIBRARIES = ("gymnasium", "gym")

# The keys in which the envs of a batch may differ. All other keys are checked once for all of them.
DIFFERING = {"kwargs", "wrappers"}

# A value of max_episode_steps: take the registered limit off and put none on.
NO_LIMIT = -1

_has_arguments = []  # type: list  # not empty once this process has its sys.argv
_set_up = []  # type: list  # the functions of ``setup`` that this process has called


def make(recipe):
    """The adapter of a new env. Raises whatever the simulator raises."""
    _import_modules(recipe)
    recipe = dict(recipe, kwargs=named_objects.resolved_arguments(recipe["kwargs"], resolve))
    env, renders_by_call, is_new = _from_entry_point(recipe) if recipe["entry_point"] else _from_registry(recipe)
    for wrapper in recipe["wrappers"]:
        reference, kwargs = parts_of(wrapper)
        env = resolve(reference)(env, **named_objects.resolved_arguments(kwargs, resolve))
    # After the wrappers, since one may have turned it into an env of another API.
    other = other_apis.adapter_of(env, recipe, resolve(recipe["entry_point"]) if recipe["entry_point"] else None)
    if other is not None:
        return other
    return adapter_class(env, is_new)(env, recipe["kwargs"].get("render_mode"), renders_by_call)


def preload(recipe):
    """Import what ``make`` would import for a recipe, also a registered class's module. Raises the import's errors.

    An id that is not registered yet is no error here: ``make`` looks again and reports it.
    """
    _import_modules(recipe)
    if recipe["entry_point"]:
        resolve(recipe["entry_point"])
    else:
        _preload_registered(recipe)
    for wrapper in recipe["wrappers"]:
        resolve(wrapper)  # the launcher names wrappers alone


def recipes_of(recipe):
    """The recipe of each env of a batch: they may differ only in DIFFERING. Raises BadValue for other differences."""
    plan = recipe["batch"]
    each = plan.get("each")
    if not each:
        return itertools.repeat(recipe, plan["count"])
    if len(each) != plan["count"] or any(set(own) - DIFFERING for own in each):
        raise BadValue("not the recipes of %d envs: %r" % (plan["count"], each))
    return [dict(recipe, **own) for own in each]


def parts_of(wrapper):
    """(the argument for ``resolve``, keyword arguments) of a wrapper in a recipe."""
    return (wrapper["wrapper"], wrapper["kwargs"]) if type(wrapper) is dict else (wrapper, {})


def _import_modules(recipe):
    """Import what the recipe names, with its command line, then call the functions of ``setup``.

    Simulators parse ``sys.argv`` when they are imported (argparse, absl, hydra), and must not see the server's own
    options. Each happens once per process: changes by the first import or env remain, as they do in-process.
    """
    if not _has_arguments:
        offscreen.watch_imports()
        _has_arguments.append(True)
        sys.argv[:] = recipe.get("argv") or [""]
    for name in recipe["imports"]:
        importlib.import_module(name)
    for name in recipe.get("setup", ()):
        if name not in _set_up:
            resolve(name)()
            _set_up.append(name)


def _preload_registered(recipe):
    module, _, env_id = recipe["id"].rpartition(":")
    if module:
        importlib.import_module(module)
    for library in _libraries(recipe["api"]):
        try:
            entry_point = getattr(library.envs.registration.spec(env_id), "entry_point", None)
        except library.error.Error:
            continue
        if isinstance(entry_point, str):
            importlib.import_module(entry_point.partition(":")[0])
        return


def resolve(reference):
    """A callable: the one that ``package.module:attribute`` names, or one that a user has passed on purpose.

    The latter, (version of Python, bytes), is the only thing that is ever unpickled; cloudpickle comes with gym and
    with gymnasium.
    """
    if isinstance(reference, tuple):
        theirs, pickled = reference
        ours = "%d.%d" % sys.version_info[:2]
        if theirs != ours:
            reason = (
                "byte code of Python %s means nothing to Python %s here; put the function into a module of this "
                "interpreter and name it, 'package.module:function'"
            )
            raise CannotEncode("$.function", "callable", reason % (theirs, ours))
        import cloudpickle

        try:
            return cloudpickle.loads(pickled)
        except ImportError as error:
            reason = (
                "%s, in this interpreter. What can be imported where it was made travels by its name alone: add its "
                "folder to pythonpath, or define the function in the script itself"
            )
            raise CannotEncode("$.function", "callable", reason % error) from error
    module, _, path = reference.partition(":")
    found = importlib.import_module(module)
    for attribute in path.split("."):
        if inspect.ismodule(found) and not hasattr(found, attribute):
            _import_submodule("%s.%s" % (found.__name__, attribute))
        found = getattr(found, attribute)
    return found


def _import_submodule(name):
    """Import a module that its package has not imported yet; do nothing if there is none."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise


def _from_registry(recipe):
    """Look in gymnasium's registry first, then in gym's."""
    if recipe["api"] in detection.MULTI_AGENT:
        return other_apis.make_registered(recipe), False, True
    if recipe.get("vectorized"):
        return _vector_from_registry(recipe), False, True
    module, _, env_id = recipe["id"].rpartition(":")
    if module:
        importlib.import_module(module)
    first_error = None
    for library in _libraries(recipe["api"]):
        is_new = _is_new(library.__name__)
        creator = _registered_creator(library, env_id)
        make = _maker_of_registered(library, env_id, recipe["max_episode_steps"])
        try:
            return (*_made(creator, make, recipe["kwargs"], is_new), is_new)
        except library.error.UnregisteredEnv as error:
            first_error = first_error or error
    raise first_error


def _vector_from_registry(recipe):
    """The vector env that the library itself makes from an id."""
    module, _, env_id = recipe["id"].rpartition(":")
    if module:
        importlib.import_module(module)
    first_error = None
    for library in _libraries(recipe["api"]):
        # gymnasium has make_vec; gym and the first gymnasium have vector.make.
        make = getattr(library, "make_vec", None) or importlib.import_module(library.__name__ + ".vector").make
        try:
            return make(env_id, **recipe["kwargs"])
        except library.error.UnregisteredEnv as error:
            first_error = first_error or error
    raise first_error


def _registered_creator(library, env_id):
    """The callable behind a registered env; None if gym itself handles the mode, or the id is unknown."""
    try:
        spec = library.envs.registration.spec(env_id)
    except library.error.Error:
        return None
    entry_point = getattr(spec, "entry_point", None)
    if getattr(spec, "apply_api_compatibility", None):
        return None
    return resolve(entry_point) if isinstance(entry_point, str) else entry_point


def _made(creator, make, kwargs, is_new):
    """(The env that ``make(**kwargs)`` returns, whether each ``render()`` takes the mode)."""
    less = {name: value for name, value in kwargs.items() if name != "render_mode"}
    if len(less) == len(kwargs) or kwargs.get("apply_api_compatibility") or not _renders_by_call(creator, is_new):
        return make(**kwargs), False
    env = make(**less)
    if not other_apis.is_gym(env):
        return env, False
    if "mode" in accepted_by_render(attributes.bare(env)):
        return env, True
    env.close()
    return make(**kwargs), False  # no render() takes the mode: Python's error names the argument


def _renders_by_call(creator, is_new):
    """Whether to pass the mode to ``render()``: the creator does not take it, or its gym is too old."""
    if creator is None:
        return not is_new
    if is_new or (inspect.isclass(creator) and "mode" not in accepted_by_render(creator).names):
        return "render_mode" not in accepted_by_creator(creator)
    return True


def _libraries(api):
    """The libraries that an env may come from, each imported when it is needed. A client cannot name another."""
    if api is not None and api not in LIBRARIES:
        known = ", ".join([*LIBRARIES, *other_apis.APIS])
        raise refusals.api_mismatch("api = %r needs an entry_point, and is one of %s" % (api, known))
    found = False
    for name in [api] if api else LIBRARIES:
        try:
            library = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        found = True
        yield library
    if not found:
        what = "%s is not" % api if api else "neither gymnasium nor gym is"
        raise ModuleNotFoundError("%s installed in this interpreter" % what)


def _maker_of_registered(library, env_id, max_episode_steps):
    """The function that makes a registered env from the simulator's keywords, which may include max_episode_steps."""
    if max_episode_steps is None:
        return partial(library.make, env_id)

    def make(**kwargs):
        # gym.make(max_episode_steps=-1) means "none" only since 1.0: before, it truncates after one step. A changed
        # copy of the spec means the same in every version, and can lengthen as well as shorten.
        spec = copy.deepcopy(library.envs.registration.spec(env_id))
        spec.max_episode_steps = None if max_episode_steps == NO_LIMIT else max_episode_steps
        return spec.make(**kwargs)

    return make


def _from_entry_point(recipe):
    creator = resolve(recipe["entry_point"])
    if not callable(creator):
        raise TypeError("the entry point %r is of type %s" % (recipe["entry_point"], type(creator).__name__))
    # A function does not show the API of its env before it has made one.
    make = partial(other_apis.create, creator, recipe["api"])
    env, renders_by_call = _made(creator, make, recipe["kwargs"], _is_new(recipe["api"] or _library_of(creator)))
    if recipe["api"] in other_apis.APIS or not other_apis.is_gym(env, recipe["wrappers"]):
        return env, False, True
    api = recipe["api"] or _library_of(type(env))
    if recipe["max_episode_steps"] is not None:
        env = _with_time_limit(next(_libraries(api or None)), env, recipe["max_episode_steps"])
    return env, renders_by_call, _is_new(api)


def _with_time_limit(library, env, max_episode_steps):
    """Take the outermost limit off, and put the requested one on."""
    if type(env) is library.wrappers.TimeLimit:
        env = env.env
    if max_episode_steps == NO_LIMIT:
        return env
    return library.wrappers.TimeLimit(env, max_episode_steps=max_episode_steps)


def _library_of(cls):
    """The library from which a class inherits, since a target may have both libraries. Empty if it is neither."""
    modules = [module_name(base).split(".")[0] for base in getattr(cls, "__mro__", ())]
    return next((name for name in LIBRARIES if name in modules), "")


def _is_new(api):
    """Whether a library, by its name, has today's API: gymnasium in all versions, gym from 0.26 on, and none."""
    if api != "gym":
        return True
    version = importlib.import_module(api).__version__
    return tuple(int(part) for part in version.split(".")[:2]) >= (0, 26)
