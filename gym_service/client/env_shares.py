"""Which worker has which envs of a vector env, and how a batch of some envs is divided among the workers.

Knows ids and indices. Never knows a call. Python 3.10 and up.
"""

from collections.abc import Sequence
from itertools import groupby, repeat
from operator import sub
from typing import NamedTuple


class Part(NamedTuple):
    """The part of a batch of some envs that belongs to one worker."""

    worker: int
    rows: slice | list[int]  # of its envs in the batch
    env_ids: list[int]
    indices: list[int]  # the same envs, as the worker counts them
    is_whole: bool  # whether these are all envs of the worker, in their order


class EnvShares:
    """The envs of each worker."""

    def __init__(self, shares: Sequence[slice]) -> None:
        """``shares`` are contiguous, and none is empty."""
        self._shares = shares
        self._worker_of = [worker for worker, share in enumerate(shares) for _ in range(share.start, share.stop)]
        self._all = [
            Part(worker, share, ids := list(range(share.start, share.stop)), list(range(len(ids))), True)
            for worker, share in enumerate(shares)
        ]
        self._all_ids = list(range(shares[-1].stop))

    def by_worker(self, ids: Sequence[int]) -> Sequence[Part]:
        """The parts of a batch of these envs, one for each worker that has any of them."""
        if ids == self._all_ids:
            return self._all
        found = self._whole_parts(ids)
        if found is None:
            workers = list(map(self._worker_of.__getitem__, ids))
            rows = sorted(range(len(ids)), key=workers.__getitem__)
            found = [self._part(worker, list(own), ids) for worker, own in groupby(rows, workers.__getitem__)]
        return found

    def _whole_parts(self, ids: Sequence[int]) -> list[Part] | None:
        """The parts, if the batch has all envs of each worker that has any, one worker after another; else None."""
        found, start = [], 0
        while start < len(ids):
            part = self._all[self._worker_of[ids[start]]]
            stop = start + len(part.env_ids)
            if ids[start:stop] != part.env_ids:
                return None
            found.append(Part(part.worker, slice(start, stop), part.env_ids, part.indices, True))
            start = stop
        return found

    def _part(self, worker: int, rows: list[int], ids: Sequence[int]) -> Part:
        env_ids = list(map(ids.__getitem__, rows))
        indices = list(map(sub, env_ids, repeat(self._shares[worker].start)))
        is_run = rows[-1] - rows[0] == len(rows) - 1
        at = slice(rows[0], rows[-1] + 1) if is_run else rows
        return Part(worker, at, env_ids, indices, env_ids == self._all[worker].env_ids)
