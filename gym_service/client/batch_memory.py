"""Memory into which the workers of one vector env write their shares, so that the batch is whole where it lies.

Knows arenas, one to each worker, and sizes. Never knows spaces or calls. Python 3.10 and up.

The client makes the memory, every worker has it mapped, and each call offers it again: a batch that the user
still looks at is never offered again (``arena.py`` says how that is known).
"""

import os
from collections.abc import Sequence
from typing import Any

from gym_service.transport import shared_memory
from gym_service.transport.arena import MOST_BYTES, MOST_OF_A_SIZE, RETIRED, Arena, Slot, number_in, retire_at_forks

Offer = tuple[Any, list[int]]  # the memory, for an array to own it; the descriptor for each worker


class BatchMemory:
    """A pool of such memory. Where workers share none with this process it has nothing to offer."""

    def __init__(self, arenas: Sequence[Arena | None]) -> None:
        self._arenas = [arena for arena in arenas if arena is not None]
        self._can_share = len(self._arenas) == len(arenas)
        self._slots: dict[int, tuple[Slot, list[int]]] = {}  # with the number by which each arena knows it
        self._free: dict[int, list[Slot]] = {}  # by size
        self._returned: list[int] = []  # descriptors of those that nobody looks at any more
        self._to_forget: list[list[int]] = [[] for _ in self._arenas]
        self._made = 0
        self._held_bytes = 0
        retire_at_forks(self)

    def offer(self, sizes_bytes: Sequence[int]) -> list[Offer]:
        """Memory of each size; nothing where there is not enough of it. Blocks for the system calls of new memory."""
        self._take_back()
        found: list[Offer] = []
        for size_bytes in sizes_bytes:
            slot = self._free_slot(size_bytes) if self._can_share else None
            if slot is None:
                return []
            pairs = zip(self._arenas, self._slots[slot.number][1], strict=True)
            found.append((slot.lease(), [arena.offer(number) for arena, number in pairs]))
        return found

    def forgotten(self) -> list[list[int]]:
        """For each worker the descriptors of memory that is never offered again. Each is said once."""
        said, self._to_forget = self._to_forget, [[] for _ in self._arenas]
        return said

    def retire(self) -> None:
        """Before a fork: what the child will see is never written into again."""
        for slot, _ in self._slots.values():
            if slot.is_out:
                slot.flags = RETIRED

    def _take_back(self) -> None:
        while self._returned:
            descriptor = self._returned.pop()
            slot, numbers = self._slots[number_in(descriptor)]
            if not descriptor & RETIRED:
                self._free[slot.size_bytes].append(slot)
                continue
            del self._slots[slot.number]
            self._held_bytes -= slot.size_bytes
            for descriptors, arena, number in zip(self._to_forget, self._arenas, numbers, strict=True):
                descriptors.append(arena.withdraw(number))

    def _free_slot(self, size_bytes: int) -> Slot | None:
        free = self._free.setdefault(size_bytes, [])
        if free:
            return free.pop()
        count = sum(slot.size_bytes == size_bytes for slot, _ in self._slots.values())
        if count >= MOST_OF_A_SIZE or self._held_bytes + size_bytes > MOST_BYTES:
            return None
        try:
            fd = shared_memory.create(size_bytes)
            try:
                mapped = shared_memory.Memory(fd, size_bytes)
                numbers = [arena.announce(fd, mapped) for arena in self._arenas]
            finally:
                os.close(fd)
        except OSError:  # no memory, or no descriptor: each worker sends its share then
            return None
        slot = Slot(mapped, self._made, self._returned)
        self._slots[slot.number] = slot, numbers
        self._made += 1
        self._held_bytes += size_bytes
        return slot
