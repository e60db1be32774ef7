"""Reads packed actions and steps that name all agents in their order, as most do.

Knows layouts, and where each value of such a message lies. Never knows the other messages (``agent_results.py``).
Python 3.6 and up; runs on both sides.
"""

import struct


class AllAgents:
    """The values of all agents behind a prefix that is always the same.

    ``agents`` are their names, ``layouts`` those of one value each, ``prefix`` the first bytes of such a message.
    ``beside`` is the struct of what stands between prefix and values.
    """

    def __init__(self, agents, layouts, prefix, beside=""):
        self.prefix = prefix
        self.fits = all(layout is not None and not layout.buffer_count for layout in layouts)
        self._beside = struct.Struct("<" + beside)
        self._places, self._end = [], len(prefix) + self._beside.size
        for agent, layout in zip(agents, layouts):
            if self.fits:
                self._places.append((agent, layout.unpack_unchecked, self._end))
                self._end += layout.head_bytes

    def is_in(self, head, buffers):
        """Whether a message has just these values."""
        return self.fits and not buffers and len(head) == self._end and head[: len(self.prefix)] == self.prefix

    def beside(self, head):
        """What stands beside the values."""
        return self._beside.unpack_from(head, len(self.prefix))

    def read(self, head):
        """The values by agent. Raises BadValue."""
        return {agent: unpack(head, at, ()) for agent, unpack, at in self._places}
