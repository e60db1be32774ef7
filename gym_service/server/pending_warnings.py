"""The warnings to send to the client with the next answer.

Knows Python's warnings, and what an Encoder records about the values in an answer. Never knows how a warning travels.
Python 3.6 and up.
"""

import warnings

from gym_service.server import error_report

MAX_WARNINGS = 100
# The limit, for the server's life, of paths whose values arrive as an Opaque, and of classes that become arrays only by
# ``__array__``. Under keys that change the number of paths is unlimited.
MAX_NOTED = 100


class PendingWarnings:
    """Collects warnings between two answers."""

    def __init__(self):
        self.waiting = []  # (name of the category, text)
        self._show_warning = warnings.showwarning
        self._opaque_paths = set()
        self._by_array_alone = set()

    def add(self, text):
        """Add a warning of gym-service itself."""
        self.waiting.append(("UserWarning", text))

    def show(self, message, category, filename, lineno, file=None, line=None):
        """Replaces ``warnings.showwarning``: the user gets the warning, and stderr too."""
        self._show_warning(message, category, filename, lineno, file, line)
        if len(self.waiting) < MAX_WARNINGS:
            self.waiting.append((error_report.builtin_name(category), str(message)))

    def take(self, encoder):
        """The warnings for this answer, as (name of the category, text)."""
        if encoder.replaced or encoder.by_array_alone:
            self._note(encoder)
        if not self.waiting:
            return ()
        taken, self.waiting = self.waiting, []
        return taken

    def _note(self, encoder):
        for path, type_name in encoder.replaced:
            if path not in self._opaque_paths and len(self._opaque_paths) < MAX_NOTED:
                self._opaque_paths.add(path)
                text = "%s is a %s, which cannot cross: it arrives as an Opaque" % (path, type_name)
                if len(self._opaque_paths) == MAX_NOTED:
                    text += "; this was the last warning of this kind, after %d" % MAX_NOTED
                self.add(text)
        for name in encoder.by_array_alone:
            if name not in self._by_array_alone and len(self._by_array_alone) < MAX_NOTED:
                self._by_array_alone.add(name)
                self.add("a %s has nothing but __array__: wherever it stands, it arrives as an array of numpy's" % name)
