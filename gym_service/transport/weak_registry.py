"""Objects that are found for as long as they live, by code that has to tell all of them something.

Knows weak references. Never knows what it holds. Python 3.6 and up; runs on both sides.

A WeakSet is no such thing where threads add to it: to list one is a loop in Python, which fails when another thread
adds in the middle.
"""

import weakref


class WeakRegistry:
    """Holds objects weakly. Any thread may add one at any time."""

    def __init__(self):
        self._references = {}  # by their ids

    def add(self, one):
        """Find it from now on."""
        reference = weakref.ref(one, self._forget)
        self._references[id(reference)] = reference

    def alive(self):
        """A list of those that live."""
        found = [reference() for reference in list(self._references.values())]
        return [one for one in found if one is not None]

    def _forget(self, reference):
        self._references.pop(id(reference), None)
