"""What a frame that uses shared memory changes on its sender's side.

Knows the state of an Arena, whose part it is. Never knows what the frame means. Python 3.6 and up; runs on both sides.
"""


class Notes:
    """The changes that a frame makes on this side once it is sent. Nothing changes before ``settle``."""

    __slots__ = ("arena", "call_id", "dead", "given_up", "is_settled", "lent", "refused", "told")

    def settle(self):
        """Apply the changes: the frame is sent, or will be. Can be repeated after an interrupt."""
        arena, dead = self.arena, self.dead
        for slot in self.lent:
            slot.is_out = True
        for lease in dead:
            slot = arena._theirs.get(lease.number)
            if slot is not None:
                slot.is_out = False
        if dead and arena._dead[: len(dead)] == dead:
            del arena._dead[: len(dead)]
        if self.told != arena._told or self.refused or self.given_up:
            self._settle_changes(arena)
        self.is_settled = True

    def _settle_changes(self, arena):
        """The same for changes that are rare: which slots exist."""
        for number in range(arena._told, self.told):
            slot = arena._slots.get(number)
            if slot is not None and slot not in arena._given_up:
                slot.told_in = slot.used_in = self.call_id
        arena._told = self.told
        for slot in self.given_up:
            arena._slots.pop(slot.number, None)
        arena._given_up = [slot for slot in arena._given_up if slot not in self.given_up]
        arena._refused = [number for number in arena._refused if number not in self.refused]
