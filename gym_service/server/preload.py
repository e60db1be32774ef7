"""What servers that are forked from one process have in common, and what they must not.

Knows what an env's recipe makes this interpreter import, warnings, and the two random generators that any code may
draw from. Never knows who forks. Python 3.6 and up.
"""

import random
import warnings

import numpy as np

from gym_service.server import endpoints, env_factory, loop  # noqa: F401 - for those that are forked

# Blocks of 624 numbers, as the Mersenne Twister makes them: how many an import may draw and still count as unseeded.
MAX_BLOCKS = 2000


class Preloaded:
    """All that can be done for an env before it is made, done once for all the processes that are forked then."""

    def __init__(self, recipe):
        """Import what the recipe names. Raises whatever that raises."""
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
        """In a forked process: be one of its own. Returns the warnings that the imports gave, for its own user."""
        for generator in self._generators:
            generator.after_fork()
        return self._warned

    def _note_warning(self, message, category, filename, lineno, file=None, line=None):
        """Each server's user is to get it; to stderr it goes here as well."""
        self._show_warning(message, category, filename, lineno, file, line)
        self._warned.append((message, category, filename, lineno))


class Generator:
    """One random generator that belongs to nobody: of Python's ``random``, or of ``numpy.random``.

    Forked processes would all draw the same numbers from it. So each seeds it again; but where the imports have seeded
    it, each has it as they left it, as it would have without a fork.
    """

    def __init__(self, seed, get, put, draw_block):
        self._seed, self._get, self._put, self._draw_block = seed, get, put, draw_block
        seed()
        self._before = get()
        self._seeded = None

    def detect_seeding(self):
        """Find out whether somebody has seeded it since: no number of draws leads to where it is now."""
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
    """The 624 numbers of a state; how many of them were drawn stands elsewhere in it."""
    return state[1][:624]
