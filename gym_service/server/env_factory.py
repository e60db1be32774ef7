"""From a recipe to an env in its adapter.

Knows how gymnasium and every gym make an env, and where wrappers and time limits go. Never knows the wire.
Python 3.6 and up.

A recipe is a dict: ``id`` or ``entry_point``, ``argv``, ``imports``, ``kwargs``, ``api``, ``max_episode_steps``,
``wrappers``. Importing what it names is the design's exception to "no import by a name that a client sent": what a
client may name is judged before, in ``allowed.py``.
"""

import copy
import importlib
import inspect
import sys

from gym_service.protocol.values import CannotEncode
from gym_service.server.adapters.gym_021 import Gym021Adapter
from gym_service.server.adapters.gym_025 import Gym025Adapter
from gym_service.server.adapters.gymnasium import GymnasiumAdapter

LIBRARIES = ("gymnasium", "gym")

# As max_episode_steps: take the registered limit off and put none on.
NO_LIMIT = -1

_has_arguments = []  # type: list  # not empty once this process has its sys.argv


def make(recipe):
    """The adapter of a new env. Raises whatever the simulator raises."""
    _import_modules(recipe)
    env, adapter_class = _from_entry_point(recipe) if recipe["entry_point"] else _from_registry(recipe)
    for wrapper in recipe["wrappers"]:
        env = resolve(wrapper)(env)
    return adapter_class(env, recipe["kwargs"].get("render_mode"))


def preload(recipe):
    """Import what ``make`` would import for a recipe, the module of a registered class too. Raises what that raises.

    An id that nobody has registered is nothing yet: ``make`` looks again, and says so.
    """
    _import_modules(recipe)
    if recipe["entry_point"]:
        resolve(recipe["entry_point"])
    else:
        _preload_registered(recipe)
    for wrapper in recipe["wrappers"]:
        resolve(wrapper)


def _import_modules(recipe):
    """Import what the recipe names, with the command line that it gives.

    Simulators parse ``sys.argv`` when they are imported (argparse, absl, hydra). The server's own options are none of
    theirs. Once in a process: what the first import or env has changed stays changed, as it does in-process.
    """
    if not _has_arguments:
        _has_arguments.append(True)
        sys.argv[:] = recipe.get("argv") or [""]
    for name in recipe["imports"]:
        importlib.import_module(name)


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
    """A callable: the one that ``package.module:attribute`` names, or the one that a user handed over on purpose.

    The latter, (version of Python, bytes), is the one thing that is ever unpickled; cloudpickle comes with gym and
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
        found = getattr(found, attribute)
    return found


def _from_registry(recipe):
    """Gymnasium's registry is asked first, then gym's."""
    module, _, env_id = recipe["id"].rpartition(":")
    if module:
        importlib.import_module(module)
    first_error = None
    for library in _libraries(recipe["api"]):
        adapter_class = _adapter_class(library)
        kwargs = dict(recipe["kwargs"])
        if not adapter_class.makes_with_render_mode:
            kwargs.pop("render_mode", None)
        try:
            return _make_registered(library, env_id, kwargs, recipe["max_episode_steps"]), adapter_class
        except library.error.UnregisteredEnv as error:
            first_error = first_error or error
    raise first_error


def _libraries(api):
    """The libraries that an env may come from, imported only as they are asked for. No other is, whoever names it."""
    if api is not None and api not in LIBRARIES:
        raise ValueError("api = %r: an env is of gymnasium or of gym" % (api,))
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


def _make_registered(library, env_id, kwargs, max_episode_steps):
    if max_episode_steps is None:
        return library.make(env_id, **kwargs)
    # gym.make(max_episode_steps=-1) means "none" only since 1.0: before, it truncates after one step. A changed copy
    # of the spec means the same in every version, and lengthens as well as shortens.
    spec = copy.deepcopy(library.envs.registration.spec(env_id))
    spec.max_episode_steps = None if max_episode_steps == NO_LIMIT else max_episode_steps
    return spec.make(**kwargs)


def _from_entry_point(recipe):
    creator = resolve(recipe["entry_point"])
    kwargs = dict(recipe["kwargs"])
    if not _accepts(creator, "render_mode"):
        kwargs.pop("render_mode", None)  # an old env: its adapter passes the mode to each render()
    env = creator(**kwargs)
    api = recipe["api"] or _library_name(env)
    library = next(_libraries(api or None))
    adapter_class = _adapter_class(library) if api else GymnasiumAdapter
    if adapter_class.makes_with_render_mode and len(kwargs) < len(recipe["kwargs"]):
        env.close()
        env = creator(**recipe["kwargs"])  # it was no old one: let Python say what it does not take
    if recipe["max_episode_steps"] is not None:
        env = _with_time_limit(library, env, recipe["max_episode_steps"])
    return env, adapter_class


def _accepts(creator, name):
    # Of a class, its __init__: the __new__ of gym 0.25's Env, which takes everything, would be asked first.
    try:
        parameters = inspect.signature(creator.__init__ if inspect.isclass(creator) else creator).parameters.values()
    except ValueError:  # a callable in C without a signature: let it say itself
        return True
    return any(parameter.name == name or parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)


def _with_time_limit(library, env, max_episode_steps):
    """Take a limit off that stands outermost, put the wanted one on."""
    if type(env) is library.wrappers.TimeLimit:
        env = env.env
    if max_episode_steps == NO_LIMIT:
        return env
    return library.wrappers.TimeLimit(env, max_episode_steps=max_episode_steps)


def _library_name(env):
    """By what an env inherits: one target may hold both libraries. Empty, and taken as new, where it is neither."""
    modules = [cls.__module__.split(".")[0] for cls in type(env).__mro__]
    return next((name for name in LIBRARIES if name in modules), "")


def _adapter_class(library):
    version = tuple(int(part) for part in library.__version__.split(".")[:2])
    if library.__name__ == "gymnasium" or version >= (0, 26):
        return GymnasiumAdapter
    return Gym025Adapter if version >= (0, 22) else Gym021Adapter
