"""A registry of live objects, for code that must notify all of them.

Knows weak references. Never knows what it holds. Python 3.6 and up; runs on both sides.

A WeakSet does not work where threads add to it: listing it is a loop in Python, which fails when another thread adds an
object during the loop.
"""

import weakref


class WeakRegistry:
    """Holds objects weakly. Any thread may add one at any time."""

    def __init__(self):
        self._references = {}  # by the ids of the references

    def add(self, one):
        """Include the object in ``alive()`` for as long as it lives."""
        reference = weakref.ref(one, self._forget)
        self._references[id(reference)] = reference

    def alive(self):
        """A list of the objects that are alive."""
        found = [reference() for reference in list(self._references.values())]
        return [one for one in found if one is not None]

    def _forget(self, reference):
        self._references.pop(id(reference), None)
