"""Attributes of an env and of the wrappers around it.

Knows the chain of wrappers, outermost first, as every gym and gymnasium builds it. Python 3.6 and up.

The chain is walked here, since it is walked differently in each version: gym's wrappers pass reads on, Gymnasium's do
so with a warning in 0.29 and not at all since 1.0.
"""

from gym_service.protocol.values import module_name

# Names with a leading underscore stay the simulator's own, but for the one that Gymnasium's users read.
READABLE_PRIVATE = {"_max_episode_steps"}
# What wrappers show of the env inside, some of it as properties that cannot be set.
OF_THE_BARE_ENV = {"observation_space", "action_space", "metadata", "render_mode"}


def owner(env, name):
    """The outermost wrapper, or else the bare env, that has the attribute itself; None where nobody has."""
    if _is_private(name):
        return None
    while _is_wrapper(env):
        if _has_itself(env, name):
            return env
        env = env.env
    return env if hasattr(env, name) else None


def get(env, name):
    """The attribute's value. Raises AttributeError, as a read in this process would."""
    if _is_private(name):
        raise AttributeError("%r is private to the simulator" % name)
    while _is_wrapper(env) and not _has_itself(env, name):
        env = env.env
    return getattr(env, name)  # without a hasattr() before it, which would compute a property twice


def set_(env, name, value, force):
    """Set the attribute where it is; with ``force`` on the bare env where it is nowhere. Returns whether it was set."""
    holder = owner(env, name)
    if holder is None and not force:
        return False
    if name.startswith("_"):
        raise AttributeError("%r is private to the simulator" % name)
    setattr(bare(env) if holder is None else holder, name, value)
    return True


def bare(env):
    """The env inside all wrappers."""
    return list(layers(env))[-1]


def layers(env):
    """The wrappers around the env, outermost first, and the env itself."""
    while _is_wrapper(env):
        yield env
        env = env.env
    yield env


def _is_private(name):
    return name.startswith("_") and name not in READABLE_PRIVATE


def _has_itself(wrapper, name):
    return name in vars(wrapper) or hasattr(type(wrapper), name)


def _is_wrapper(env):
    return any(
        cls.__name__ == "Wrapper" and module_name(cls) in ("gym.core", "gymnasium.core") for cls in type(env).__mro__
    )
