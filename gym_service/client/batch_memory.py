"""Shared memory into which all workers of a vector env write one batch, so that the client need not assemble it.

Knows arenas, one for each worker, and sizes. Never knows spaces or calls. Python 3.10 and up.

The client makes the memory and announces it to every worker; from the next call on, calls offer it for the answer. It
may be offered again when nothing holds its lease. The user's batch holds the lease, and so does a call in progress
(``Packed.leases``): the memory of an interrupted call is not offered before its answer has arrived. A weak reference to
the lease is the only record.
"""

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from gym_service.protocol.interrupts import is_foreign
from gym_service.transport import shared_memory
from gym_service.transport.arena import MOST_OF_A_SIZE, SWEEP_CALLS, Arena
from gym_service.transport.forks import Holder, tell_of_forks
from gym_service.transport.slots import Slot
from gym_service.transport.streams import close_all

Offer = tuple[Any, list[int]]  # the memory, as the buffer of an array; its descriptor for each worker


class BatchSlot:
    """Memory for one leaf of a batch."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.numbers: list[int] = []  # its number in each arena
        self.is_retired = False  # the child of a fork may see it
        self._lease: weakref.ref[Any] | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing can see its content."""
        return self._lease is None or self._lease() is None

    def lease(self) -> Any:
        """Its memory, as the buffer of an array."""
        lease = self.slot.lease(self.slot.size_bytes)
        self._lease = weakref.ref(lease)
        return lease


class BatchMemory(Holder):
    """A pool of batch slots. It offers nothing if a worker shares no memory with this process."""

    def __init__(self, arenas: Sequence[Arena | None]) -> None:
        self._arenas = [arena for arena in arenas if arena is not None]
        self._can_share = len(self._arenas) == len(arenas)
        self._slots: list[BatchSlot] = []
        self._half_made: list[BatchSlot] = []  # empty unless one is being made, or making one was interrupted
        self._fds: list[int] = []  # the same for its descriptors
        self._pause = 0  # how many offers to skip before making memory again
        self._forks: set[Any] = set()  # those that have begun
        tell_of_forks(self)

    def offer(self, sizes_bytes: Sequence[int]) -> list[Offer]:
        """Memory of each size. Nothing if there is not enough of it; then it makes some for the next call.

        No call may be in progress. Blocks for the system calls of new memory.
        """
        if not self._can_share or not sizes_bytes:
            return []
        self._tidy()
        found: list[BatchSlot] = []
        lacking: list[int] = []
        for size_bytes in sizes_bytes:
            free = self._free_slot(size_bytes, found)
            if free is None:
                lacking.append(size_bytes)
            else:
                found.append(free)
        if lacking:
            self._make(lacking)
            return []
        offers = [
            (each.lease(), [Arena.offer(number, each.slot.size_bytes) for number in each.numbers]) for each in found
        ]
        if self._forks:
            self._retire(found)
        return offers

    def begin_fork(self, fork: Any) -> None:
        """Before a fork: the memory that the child will see is never written again."""
        self._forks.add(fork)
        self._retire(self._slots)

    def end_fork(self, fork: Any) -> None:
        """After a fork, in the parent: nor is memory that came into use since ``begin_fork``."""
        self._retire(self._slots)
        self._forks.discard(fork)

    def close(self) -> None:
        """In the child of a fork: hold nothing. It makes no more calls."""
        close_all(self._fds)
        self._slots, self._half_made = [], []

    @staticmethod
    def _retire(slots: Iterable[BatchSlot]) -> None:
        for each in list(slots):
            each.is_retired = each.is_retired or not each.is_free

    def _tidy(self) -> None:
        """Make the workers forget memory that can no longer be used."""
        if self._fds:  # making one was interrupted
            close_all(self._fds)
        for each in [*self._half_made, *self._slots]:
            numbers = zip(self._arenas, each.numbers, strict=False)
            is_refused = any(arena.is_refused(number) for arena, number in numbers)
            if is_refused:
                self._pause = SWEEP_CALLS
            if is_refused or each in self._half_made or (each.is_retired and each.is_free):
                self._give_up(each)
        self._half_made.clear()

    def _give_up(self, slot: BatchSlot) -> None:
        for arena, number in zip(self._arenas, slot.numbers, strict=False):
            arena.give_up(number)
        if slot in self._slots:
            self._slots.remove(slot)

    def _free_slot(self, size_bytes: int, taken: Sequence[BatchSlot]) -> BatchSlot | None:
        for each in self._slots:
            fits = each.slot.size_bytes == size_bytes and each not in taken
            if fits and each.is_free and not each.is_retired and self._is_known(each):
                return each
        return None

    def _is_known(self, slot: BatchSlot) -> bool:
        return all(arena.is_known(number) for arena, number in zip(self._arenas, slot.numbers, strict=True))

    def _make(self, lacking: Sequence[int]) -> None:
        if self._pause:
            self._pause -= 1
            return
        for size_bytes in set(lacking):
            same = [each for each in self._slots if each.slot.size_bytes == size_bytes]
            on_the_way = sum(not self._is_known(each) for each in same)
            for _ in range(min(lacking.count(size_bytes) - on_the_way, MOST_OF_A_SIZE - len(same))):
                if all(arena.has_room(size_bytes) for arena in self._arenas):
                    self._make_slot(size_bytes)

    def _make_slot(self, size_bytes: int) -> None:
        try:
            shared_memory.create(size_bytes, self._fds)
            memory = shared_memory.Memory(self._fds[0], size_bytes)
            made = BatchSlot(Slot(memory, 0))
            self._half_made.append(made)
            for arena in self._arenas:
                made.numbers.append(arena.next_number)  # before the next line, which an interrupt may follow
                arena.announce(self._fds[0], memory)
            self._slots.append(made)
            self._half_made.remove(made)
        except OSError as error:  # no memory or no descriptor: then each worker sends its own part
            if is_foreign(error):
                raise
            self._pause = SWEEP_CALLS
        close_all(self._fds)
