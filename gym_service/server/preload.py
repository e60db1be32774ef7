"""What servers forked from one process share, and what they must not share.

Knows the imports that an env's recipe needs, warnings, and the two global random generators that any code may draw
from. Never knows the fork server. Python 3.6 and up.
"""

import random
import warnings

import numpy as np

# Also what a server that is no fork imports only when its env needs it.
from gym_service.server import (  # noqa: F401 - for those that are forked
    endpoints,
    env_batch,
    env_factory,
    loop,
    multi_agent,
    some_envs,
    viewer_link,
)
from gym_service.server.adapters import dm_env, pettingzoo, robosuite, vectorized  # noqa: F401
from gym_service.transport import image_codec  # noqa: F401

# How far an import may draw and still count as unseeded, in blocks of 624 numbers (as the Mersenne Twister makes them).
MAX_BLOCKS = 2000


class Preloaded:
    """Does everything that is possible before an env is made, once for all processes that are forked later."""

    def __init__(self, recipe):
        """Import what the recipe names. Raises whatever the imports raise."""
        self._generators = [
            Generator(random.seed, random.getstate, random.setstate, lambda: random.getrandbits(32 * 624)),
            Generator(np.random.seed, np.random.get_state, np.random.set_state, lambda: np.random.bytes(4 * 624)),
        ]
        self._warned = []
        self._show_warning = warnings.showwarning
        warnings.showwarning = note = self._note_warning
        try:
            env_factory.preload(recipe)
        finally:
            if warnings.showwarning == note:
                warnings.showwarning = self._show_warning
        for generator in self._generators:
            generator.detect_seeding()

    def after_fork(self):
        """Call this in a forked process. Returns the warnings of the imports, for the user of this server."""
        for generator in self._generators:
            generator.after_fork()
        return self._warned

    def _note_warning(self, message, category, filename, lineno, file=None, line=None):
        """Keep the warning for the user of each server, and also write it to stderr here."""
        self._show_warning(message, category, filename, lineno, file, line)
        self._warned.append((message, category, filename, lineno))


class Generator:
    """One global random generator: that of Python's ``random``, or that of ``numpy.random``.

    All forked processes would draw the same numbers from it, so each one seeds it again. If the imports have seeded it,
    each process keeps the state that the imports left, as it would without a fork.
    """

    def __init__(self, seed, get, put, draw_block):
        self._seed, self._get, self._put, self._draw_block = seed, get, put, draw_block
        seed()
        self._before = get()
        self._seeded = None

    def detect_seeding(self):
        """Find out whether code has seeded it since: then no number of draws leads to its present state."""
        now = self._get()
        self._put(self._before)
        for _ in range(MAX_BLOCKS):
            if np.array_equal(_words(self._get()), _words(now)):
                break
            self._draw_block()
        else:
            self._seeded = now
        self._put(now)

    def after_fork(self):
        if self._seeded is None:
            self._seed()
        else:
            self._put(self._seeded)


def _words(state):
    """The 624 words of a state. The position within them is stored elsewhere in the state."""
    return state[1][:624]
