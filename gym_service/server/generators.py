"""A simulator's random generator as plain data: read for the client, and written back after the client has drawn.

Knows numpy's generators and the name under which gym and gymnasium keep one. Never knows the wire. Python 3.6 and up.
"""

import numpy as np

from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import BadValue
from gym_service.server import refusals
from gym_service.server.adapters import attributes

GENERATOR, RANDOM_STATE, OTHER = "Generator", "RandomState", "other"


def exchange(env, name, given):
    """Write the generator if ``given`` is (kind, bit generator, state, state read before), read it if it is None.

    The state read before is None if the client replaces the generator. Raises BadValue for any other ``given``.
    """
    if name not in ("np_random", "_np_random") or not (given is None or len(given) == 4):
        raise BadValue("not a generator's name and state: %r" % (name,))
    return read(env, name) if given is None else write(env, *given)


def read(env, name):
    """(kind, name of the bit generator, state) of ``np_random`` or ``_np_random``; None where the attribute is None.

    Raises AttributeError if there is no ``np_random``. A generator that is not numpy's is ``("other", "", None)``.
    """
    bare = attributes.bare(env)
    generator = getattr(bare, name) if name == "np_random" else getattr(bare, name, OTHER)
    if generator is None:
        return None
    if isinstance(generator, np.random.RandomState):
        return RANDOM_STATE, "MT19937", list(generator.get_state())
    if isinstance(generator, getattr(np.random, GENERATOR, ())):
        return GENERATOR, type(generator.bit_generator).__name__, generator.bit_generator.state
    return OTHER, "", None


def write(env, kind, bit_generator, state, before):
    """Write a state into the env's ``np_random``; without ``before``, the previous state, replace the generator.

    Raises Refused if the simulator has drawn from the generator since it was read.
    """
    bare = attributes.bare(env)
    generator = getattr(bare, "np_random", None)
    if before is None:
        generator = _new(kind, bit_generator)
        bare.np_random = generator
    elif _bytes_of(read(env, "np_random")) != _bytes_of((kind, bit_generator, before)):
        text = "the simulator has moved np_random while another thread drew from it\n  try: draw and step in one thread"
        raise refusals.Refused(text, "RuntimeError", ["RuntimeError"])
    if kind == RANDOM_STATE and isinstance(generator, np.random.RandomState):
        generator.set_state(tuple(state))
    elif kind == GENERATOR and type(getattr(generator, "bit_generator", None)).__name__ == bit_generator:
        generator.bit_generator.state = state
    else:
        raise refusals.api_mismatch("np_random is no longer a %s with a %s" % (kind, bit_generator))


def _bytes_of(state):
    return bytes(Encoder().add(state).head)


def _new(kind, bit_generator):
    if kind == RANDOM_STATE:
        return np.random.RandomState()
    known = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
    if kind != GENERATOR or bit_generator not in known or not hasattr(np.random, bit_generator):
        raise refusals.api_mismatch("numpy %s has no %s with a %s" % (np.__version__, kind, bit_generator))
    return np.random.Generator(getattr(np.random, bit_generator)())
