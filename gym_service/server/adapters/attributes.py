"""Attributes of an env and of the wrappers around it.

Knows the chain of wrappers, outermost first, as every gym and gymnasium builds it. Python 3.6 and up.

The chain is walked here, since it is walked differently in each version: gym's wrappers pass reads on, Gymnasium's do
so with a warning in 0.29 and not at all since 1.0.
"""

# Names with a leading underscore stay the simulator's own, but for the one that Gymnasium's users read.
READABLE_PRIVATE = {"_max_episode_steps"}


def owner(env, name):
    """The outermost wrapper, or else the bare env, that has the attribute itself; None where nobody has."""
    if name.startswith("_") and name not in READABLE_PRIVATE:
        return None
    while _is_wrapper(env):
        if name in vars(env) or hasattr(type(env), name):
            return env
        env = env.env
    return env if hasattr(env, name) else None


def get(env, name):
    """The attribute's value. Raises AttributeError, as a read in this process would."""
    holder = owner(env, name)
    if holder is None:
        raise AttributeError("%s has no public attribute %r" % (type(bare(env)).__name__, name))
    return getattr(holder, name)


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
    while _is_wrapper(env):
        env = env.env
    return env


def _is_wrapper(env):
    return any(
        cls.__name__ == "Wrapper" and cls.__module__ in ("gym.core", "gymnasium.core") for cls in type(env).__mro__
    )
