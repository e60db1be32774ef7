"""How large a message may be, and what is refused because it is larger.

Knows sizes of spaces and of encoded values. Never knows a call. Python 3.6 and up.
"""

from gym_service.protocol.frames import BOUND_BYTES
from gym_service.protocol.space_spec import largest_value
from gym_service.protocol.values import CannotEncode

MIB = 2**20
# A list of rendered frames above this size is sent in several messages.
PART_BYTES = 16 * MIB


class MessageBound:
    """The bound on one server's messages: ``max_message_mib``, and what the layouts need."""

    def __init__(self):
        self.size_bytes = BOUND_BYTES
        self.is_of_batch = False  # whether a message has the values of several envs

    def set_mib(self, mib):
        """Replace the bound; None for the usual one."""
        self.size_bytes = BOUND_BYTES if mib is None else mib * MIB

    def replace_layout(self, old, new):
        """Make room for the values of a new layout instead of the old one's; each may be None."""
        self.size_bytes += (new.size_bytes if new else 0) - (old.size_bytes if old else 0)

    def check(self, encoder):
        """Raise CannotEncode if the message is larger."""
        if encoder.size_bytes > self.size_bytes:
            size, path = encoder.largest
            reason = "%d bytes; the whole answer holds %d and may hold %d\n  try: %s"
            advice = "max_message_mib = %d" % -(-encoder.size_bytes // MIB)
            if self.is_of_batch:
                advice += ", or more workers, each of which answers for fewer envs"
            raise CannotEncode(path, "value", reason % (size, encoder.size_bytes, self.size_bytes, advice))

    def check_spaces(self, description):
        """Raise CannotEncode for a space whose values fit no message."""
        for name in ("observation_space", "action_space"):
            if description.get(name) is None:  # unknown before the first reset, or not among the changes
                continue
            size, path = largest_value(description[name], "$." + name)
            if size > self.size_bytes:
                reason = "its values are %d bytes, and a message may hold %d\n  try: max_message_mib = %d"
                raise CannotEncode(path, "space", reason % (size, self.size_bytes, -(-size // MIB)))


def in_parts(frames):
    """A list split into lists. None is larger than PART_BYTES unless a single frame is."""
    parts, size = [[]], 0
    for frame in frames:
        size += getattr(frame, "nbytes", 0)
        if size > PART_BYTES and parts[-1]:
            parts.append([])
            size = getattr(frame, "nbytes", 0)
        parts[-1].append(frame)
    return parts
