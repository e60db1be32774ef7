"""Envs of other APIs than gym's: chooses the adapter for an object of a simulator, or says why there is none.

Knows the adapters of dm_env, robosuite and PettingZoo, and imports each when an env needs it. Never knows the wire, or
how a gym registry finds an id. Python 3.6 and up.
"""

import importlib

from gym_service.server import refusals
from gym_service.server.adapters import detection

# The module and the class of each adapter.
_SINGLE = {
    detection.DM_ENV: ("dm_env", "DmEnvAdapter"),
    detection.ROBOSUITE: ("robosuite", "RobosuiteAdapter"),
}
_MULTI_AGENT = {
    detection.PARALLEL: ("pettingzoo", "ParallelAdapter"),
    detection.AEC: ("pettingzoo", "AecAdapter"),
}
_VECTORIZED = ("vectorized", "VectorizedAdapter")
APIS = (*_SINGLE, *_MULTI_AGENT)

# Keywords for the adapters only: an env of dm_env or robosuite takes neither when it is made.
_RENDER_KEYS = ("render_mode", "render_kwargs")


def is_gym(env, wrappers=()):
    """Whether it is an env of gymnasium or gym. Raises Refused if no adapter fits it and no wrappers follow."""
    try:
        return detection.api_of(env) == detection.GYM
    except refusals.Refused:
        if not wrappers:  # wrappers may convert it, as gym3's do with gym3's own envs
            raise
        return False


def create(creator, api, **kwargs):
    """What the creator makes with these keywords.

    The adapter keeps the rendering keywords if the creator does not take them. A creator that passes all its keywords
    on to another function shows that only when it is called.
    """
    without = {name: value for name, value in kwargs.items() if name not in _RENDER_KEYS}
    if api in _SINGLE:
        return creator(**without)
    try:
        return creator(**kwargs)
    except TypeError as error:
        refused = ["unexpected keyword argument %r" % name for name in _RENDER_KEYS if name in kwargs]
        if not any(text in str(error) for text in refused):
            raise
        env = creator(**without)
        if detection.api_of(env) not in _SINGLE:
            raise
        return env


def adapter_of(env, recipe, creator):
    """The adapter for the env; None if it is an env of gymnasium or gym. Raises Refused if no adapter fits."""
    api = recipe["api"]
    found = detection.api_of(env, api)
    if found == detection.VECTOR:
        if "batch" not in recipe:
            return _adapter_class(_VECTORIZED)(env, recipe)
        text = "%s is a vector env itself, and make_vec makes one of single envs"
        advice = "\n  try: vectorized = true in its entry, or gym_service.make with the number of envs in kwargs"
        raise refusals.api_mismatch(text % detection.described(env) + advice)
    if recipe.get("vectorized"):
        text = "vectorized = true: %s is no vector env\n  try: leave vectorized out, and gym_service.make_vec"
        raise refusals.api_mismatch(text % detection.described(env))
    if found in _MULTI_AGENT:
        return _multi_agent_adapter(env, found, api)
    if api in APIS and api != found:
        _refuse(env, found, api)
    if found in _SINGLE:
        if api not in (None, found):
            _refuse(env, found, api)
        return _adapter_class(_SINGLE[found])(env, recipe, creator)
    return None


def make_registered(recipe):
    """An env of PettingZoo's registry."""
    from gym_service.server.adapters import pettingzoo

    return pettingzoo.make_registered(recipe["id"], recipe["api"], recipe["kwargs"])


def _adapter_class(place):
    module, name = place
    return getattr(importlib.import_module("gym_service.server.adapters." + module), name)


def _multi_agent_adapter(env, found, api):
    if api == found:
        return _adapter_class(_MULTI_AGENT[found])(env)
    kind = "an AECEnv" if found == detection.AEC else "a ParallelEnv"
    text = "%s is %s of PettingZoo" % (detection.described(env), kind)
    if api in _MULTI_AGENT:
        other = "parallel_env" if api == detection.PARALLEL else "env"
        advice = 'gym_service.make_%s, or an entry_point that makes the other one ("mpe2:simple_spread_v3.%s")'
        raise refusals.api_mismatch("%s, which make_%s cannot hold\n  try: %s" % (text, api, advice % (found, other)))
    advice = "gym_service.make_%s (make_parallel is for a ParallelEnv, make_aec for an AECEnv)" % found
    raise refusals.api_mismatch("%s, and no single gymnasium.Env\n  try: %s" % (text, advice))


def _refuse(env, found, api):
    name = "gymnasium or gym" if found == detection.GYM else found
    text = "api = %r: %s is an env of %s\n  try: leave it out"
    raise refusals.api_mismatch(text % (api, detection.described(env), name))
