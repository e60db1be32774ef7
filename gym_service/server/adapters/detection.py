"""Detects the API of an object that a simulator has made.

Looks at the object's attributes, never at the version of its library. Never imports a library, and never knows the
wire. Python 3.6 and up.
"""

import inspect

from gym_service.protocol.values import module_name, type_name
from gym_service.server import refusals

# The values of the key ``api``. GYM means gymnasium and every gym: ``env_factory.py`` tells those apart.
GYM, DM_ENV, ROBOSUITE, PARALLEL, AEC = "gym", "dm_env", "robosuite", "parallel", "aec"
MULTI_AGENT = (PARALLEL, AEC)
VECTOR = "vector"

# The attributes that hold a wrapped env, in dm_env, bsuite, dm_control, robosuite, LIBERO and PettingZoo.
INNER_NAMES = ("_env", "env", "_environment", "aec_env", "par_env")

# Libraries with other APIs, by the top-level package of the object's class; and advice for each.
_NOT_SUPPORTED = {
    "open_spiel": "OpenSpiel",
    "pyspiel": "OpenSpiel",
    "rlcard": "RLCard",
    "jumanji": "Jumanji",
    "brax": "Brax",
    "gymnax": "gymnax",
    "textworld": "TextWorld",
}
_LEADS_ON = {
    "OpenSpiel": "make_aec with Shimmy's shimmy.openspiel_compatibility:OpenSpielCompatibilityV0",
    "RLCard": "make_aec with PettingZoo's card games, such as pettingzoo.classic.leduc_holdem_v4:env",
    "Jumanji": "an entry_point of your own that returns jumanji.wrappers.JumanjiToGymWrapper(env)",
    "Brax": "an entry_point of your own that returns brax.envs.wrappers.gym.GymWrapper(env)",
    "gymnax": "an entry_point of your own that returns a gymnasium.Env around it",
    "TextWorld": "textworld.gym, which registers games as gym envs",
}


def api_of(env, asked=None):
    """GYM, DM_ENV, ROBOSUITE, PARALLEL, AEC or VECTOR. Raises Refused if the object has none of these APIs.

    ``asked`` is the API that the user states: a multi-agent env then need not name its agents.
    """
    names = _library_classes(env)
    for word, cls in ((VECTOR, "VectorEnv"), (GYM, "Env"), (AEC, "AECEnv"), (PARALLEL, "ParallelEnv")):
        if cls in names:
            return word
    names_agents = asked in MULTI_AGENT or hasattr(env, "possible_agents")
    if names_agents and _has_methods(env, "observation_space", "action_space"):
        return AEC if _has_methods(env, "last", "observe") else PARALLEL
    if _has_values(env, "observation_space", "action_space"):
        return VECTOR if hasattr(env, "num_envs") else GYM  # an Env of gym's may be batched, but stays a single env
    if _is_dm_env(env):
        return DM_ENV
    if bounds_owner(env) is not None:
        return ROBOSUITE
    raise refusals.api_mismatch(_unknown(env))


def bounds_owner(env):
    """The object, or the env inside it, whose ``action_spec`` is a pair of bounds, as in robosuite; else None."""
    for layer in layers(env):
        spec = getattr(layer, "action_spec", None)
        if isinstance(spec, (tuple, list)) and len(spec) == 2 and _has_methods(layer, "reset", "step"):
            return layer
    return None


def layers(env):
    """The object and the objects that it wraps, outermost first. Each appears once, whatever references there are."""
    found = []
    while env is not None and not any(env is layer for layer in found):
        found.append(env)
        # Not getattr: a wrapper that forwards every name would return the innermost object's attribute.
        own = getattr(env, "__dict__", {})
        env = next((own[name] for name in INNER_NAMES if own.get(name) is not None), None)
    return found


def described(env):
    """An object's class as people write it."""
    return type_name(env)


def _library_classes(env):
    """The names of the classes of gym, gymnasium or PettingZoo from which it inherits."""
    roots = ("gym", "gymnasium", "pettingzoo")
    return {cls.__name__ for cls in type(env).__mro__ if module_name(cls).split(".")[0] in roots}


def _has_methods(env, *names):
    return all(callable(getattr(env, name, None)) for name in names)


def _has_values(env, *names):
    return all(hasattr(env, name) and not callable(getattr(env, name)) for name in names)


def _is_dm_env(env):
    if not _has_methods(env, "observation_spec", "action_spec", "reset", "step"):
        return False
    try:
        parameters = inspect.signature(env.reset).parameters.values()
    except (TypeError, ValueError):  # written in C
        parameters = ()
    # A functional env, such as Jumanji's, takes its random key with each reset.
    has_state = all(
        parameter.default is not parameter.empty or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in parameters
    )
    return has_state and _is_spec(env.action_spec())


def _is_spec(spec):
    """Whether it is a spec of dm_env, or a dict, list or tuple of specs. OpenSpiel has plain numbers there."""
    if isinstance(spec, dict):
        return all(_is_spec(part) for part in spec.values())
    if isinstance(spec, (list, tuple)):
        return all(_is_spec(part) for part in spec)
    return hasattr(spec, "shape") and hasattr(spec, "dtype")


def _unknown(env):
    library = _NOT_SUPPORTED.get(module_name(type(env)).split(".")[0])
    if library:
        text = "%s is of %s, whose API is not supported\n  try: %s"
        return text % (described(env), library, _LEADS_ON[library])
    return (
        "%s is no env that an adapter exists for: it has neither observation_space and action_space (gymnasium, gym), "
        "nor observation_spec() and action_spec() (dm_env), nor an action_spec of two bounds (robosuite, LIBERO), nor "
        "possible_agents and observation_space(agent) (PettingZoo: make_parallel and make_aec)" % described(env)
    )
