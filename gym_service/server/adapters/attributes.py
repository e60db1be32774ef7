"""Attributes of an env and of the wrappers around it.

Knows the chain of wrappers, outermost first, as every gym and gymnasium builds it. Python 3.6 and up.

This walks the chain itself, since each version differs: gym's wrappers pass reads on, Gymnasium's do so with a warning
in 0.29 and not at all since 1.0.
"""

from gym_service.protocol.values import module_name

# Names with a leading underscore that Gymnasium's users nevertheless read.
READABLE_PRIVATE = {"_max_episode_steps"}
# The methods that take the name of an attribute: of Gymnasium's envs and vector envs, Stable-Baselines' and gym3's.
READERS = {"get_wrapper_attr", "has_wrapper_attr", "set_wrapper_attr"}
READERS |= {"call", "call_async", "get_attr", "set_attr", "env_method", "env_is_wrapped"}
READERS |= {"getattr_recursive", "getattr_depth_check", "callmethod"}
# Attributes that wrappers show of the env inside, some as properties that cannot be set.
OF_THE_BARE_ENV = {"observation_space", "action_space", "metadata", "render_mode"}


def owner(env, name):
    """The outermost wrapper, or else the bare env, that has the attribute itself; None if none has it."""
    while _is_wrapper(env):
        if _has_itself(env, name):
            return env
        env = env.env
    return env if hasattr(env, name) else None


def has(env, path):
    """Whether the attribute exists. ``path`` is a name, or names with dots between them, as in Python."""
    holder = owner(env, path.partition(".")[0])
    if holder is None or "." not in path:
        return holder is not None
    try:
        get(env, path)
    except AttributeError:
        return False
    return True


def get(env, path):
    """The attribute's value. Raises AttributeError, as a read in this process would."""
    name, *rest = path.split(".")
    while _is_wrapper(env) and not _has_itself(env, name):
        env = env.env
    value = getattr(env, name)  # without hasattr() before it, which would compute a property twice
    for name in rest:
        value = getattr(value, name)
    return value


def set_(env, path, value, force):
    """Set the attribute where it exists; with ``force`` else on the bare env. Returns whether it was set.

    Of names with dots between them, the last one is set, on the object that the others lead to.
    """
    if any(name.startswith("_") for name in path.split(".")):
        raise AttributeError("%r is private to the simulator" % path)
    inner, _, name = path.rpartition(".")
    if inner:
        holder = get(env, inner)
        if not (force or hasattr(holder, name)):
            return False
        setattr(holder, name, value)
        return True
    holder = owner(env, name)
    if holder is None and not force:
        return False
    setattr(bare(env) if holder is None else holder, name, value)
    return True


def names(env):
    """The public names of the env and of the wrappers around it, sorted."""
    return sorted({name for layer in layers(env) for name in dir(layer) if not name.startswith("_")})


def needs_permission(path):
    """Whether reading it can reach more than a public attribute of the env.

    A name with dots can go through a module that an object holds, and a private name may hold such an object.
    """
    return "." in path or (path.startswith("_") and path not in READABLE_PRIVATE)


def bare(env):
    """The env inside all wrappers."""
    return list(layers(env))[-1]


def layers(env):
    """The wrappers around the env, outermost first, and the env itself."""
    while _is_wrapper(env):
        yield env
        env = env.env
    yield env


def _has_itself(wrapper, name):
    return name in vars(wrapper) or hasattr(type(wrapper), name)


def _is_wrapper(env):
    return any(
        cls.__name__ == "Wrapper" and module_name(cls) in ("gym.core", "gymnasium.core") for cls in type(env).__mro__
    )
