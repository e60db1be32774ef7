"""Vector envs without waiting for the slowest env: ``send`` steps some envs, ``recv`` returns those that are ready.

Knows batches of some of the envs. Never knows which worker is busy (``in_flight.py``). Python 3.10 and up. The names
are those of EnvPool.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector.utils import batch_space, iterate

from gym_service.client.batch_layouts import BatchLayouts
from gym_service.client.batch_results import WorkerResult, as_batch, joined, part_of, rows_of
from gym_service.client.env_shares import EnvShares
from gym_service.client.in_flight import WorkersInFlight
from gym_service.client.partial_calls import Chosen, Sent
from gym_service.client.requests import encode
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder, Packed

Received = tuple[Any, Any, Any, Any, dict[str, Any], Any]


class SendAndReceive:
    """A part of RemoteVectorEnv."""

    num_envs: int
    single_observation_space: Space[Any]
    single_action_space: Space[Any]
    _shares: Sequence[slice]
    _env_shares: EnvShares
    _workers: WorkersInFlight
    _half_offers: Any
    _batch_layouts: BatchLayouts
    _action_spaces: dict[int, Space[Any]]  # batched, by number of envs

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The ids of the envs whose results ``recv`` has not returned yet, in the order of sending."""
        return self._workers.env_ids_in_flight

    def send(self, actions: Any, env_ids: Any = None) -> None:
        """Start a step of some envs, and return at once; ``recv`` returns their results.

        An env whose worker is busy steps when that worker's call has ended. The envs of one worker step one after
        another, so envs that should run at the same time need separate workers. Actions that have to wait are copied.

        Args:
            actions: batched, one row for each of the envs, in their order.
            env_ids: the envs, each of them once: a sequence or an array of ints. None: all envs.

        Raises:
            AlreadyPendingCallError: one of these envs is in flight, or ``step_async`` or ``call_async`` is pending.
            ValueError, TypeError: the ids are invalid, or their number is not that of the actions. Nothing was sent.
            Otherwise as ``step``.
        """
        ids = self._ids(env_ids)
        self._workers.send(self._packed_parts(actions, ids) or self._listed_parts(actions, ids), "send")
        self._half_offers = []

    def recv(self, min_envs: int = 1, max_envs: int | None = None, timeout_s: float | None = None) -> Received:
        """The results of envs that are ready, in the order in which they became ready.

        It also returns the results of ``reset_async``, with rewards of 0. No env waits for one that became ready later.
        With all envs wanted, workers that answer within a millisecond of each other come in their own order.

        Blocks until ``min_envs`` envs are ready. The limits of the entry apply to each call to a worker: after
        ``timeouts.step`` seconds without an answer the worker is stopped.

        Args:
            min_envs: wait for at least this many.
            max_envs: return at most this many; the others come with the next ``recv``. None: all that are ready.
            timeout_s: wait at most this many seconds; 0 does not wait. None: as long as the calls may take.

        Returns:
            Observations, rewards, terminations, truncations, infos and env ids. Row ``i`` of each belongs to the env
            ``env_ids[i]``; infos have Gymnasium's layout, for as many envs as there are rows. ``env_ids`` is an array
            of int64. Arrays are the caller's to keep.

        Raises:
            NoAsyncCallError: no env is in flight.
            ValueError: ``min_envs`` is below 1, above ``max_envs``, or above the number of envs in flight.
            EnvError: an env raised. It is no longer in flight, and can be sent again. The other envs are not affected.
            CallTimeout: in the state ``waiting``, ``timeout_s`` has passed, and nothing is lost. In any other state,
                and after ServerCrashed, all workers are closed. The error's ``env_ids`` are the envs in question.
        """
        if min_envs < 1 or (max_envs is not None and max_envs < min_envs):
            raise ValueError(f"min_envs={min_envs!r}, max_envs={max_envs!r}: 1 <= min_envs <= max_envs must hold")
        received = self._workers.receive(self._composed, min_envs, max_envs, timeout_s)
        self._half_offers = []
        return received

    def _send_reset(self, seed: Any, options: Any) -> None:
        """Reset the envs that ``options`` names, as ``reset_async`` does, while others are in flight."""
        seeds, options, mask = self._reset_arguments(seed, options)
        each = options if isinstance(options, list) else [options] * self.num_envs
        ids = [env_id for env_id in range(self.num_envs) if mask is None or mask[env_id]]
        parts = []
        for part in self._env_shares.by_worker(ids):
            own = part.env_ids
            given = ("$.indices", part.indices), ("$.seeds", [seeds[env_id] for env_id in own])
            encoder = encode(*given, ("$.options", [each[env_id] for env_id in own]))
            parts.append(Sent(part.worker, own, messages.RESET_SOME, _copied(encoder)))
        self._workers.send(parts, "reset_async")

    def _ids(self, env_ids: Any) -> list[int]:
        if env_ids is None:
            return list(range(self.num_envs))
        array = np.asarray(env_ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError(f"env_ids must be a sequence of ints, not {env_ids!r}")
        ids: list[int] = array.tolist()
        if not ids or len(set(ids)) != len(ids) or min(ids) < 0 or max(ids) >= self.num_envs:
            raise ValueError(f"env_ids must be some of 0 to {self.num_envs - 1}, each of them once, not {env_ids!r}")
        return ids

    def _packed_parts(self, actions: Any, ids: Sequence[int]) -> list[Sent] | None:
        """The calls to send if the actions fit their layout; None if they do not."""
        if not _has_rows(actions, len(ids)):
            return None
        parts = []
        for part in self._env_shares.by_worker(ids):
            beginning = self._batch_layouts.step_beginning(part)
            if beginning is None:
                return None
            kind, head, layout = beginning
            packed = Packed()
            packed.head += head
            if not layout.pack(part_of(actions, part.rows), packed.head, packed.buffers):
                return None
            parts.append(Sent(part.worker, part.env_ids, kind, _copied(packed)))
        return parts

    def _listed_parts(self, actions: Any, ids: Sequence[int]) -> list[Sent]:
        space = self._action_spaces.setdefault(len(ids), batch_space(self.single_action_space, len(ids)))
        each = list(iterate(space, actions))
        if len(each) != len(ids):
            raise ValueError(f"{len(each)} actions for {len(ids)} sub-environments")
        parts = []
        for part in self._env_shares.by_worker(ids):
            own = each[part.rows] if isinstance(part.rows, slice) else [each[row] for row in part.rows]
            encoder = encode(("$.indices", part.indices), ("$.actions", own))
            parts.append(Sent(part.worker, part.env_ids, messages.STEP_SOME, _copied(encoder)))
        return parts

    def _composed(self, chosen: Chosen) -> Received:
        found: list[WorkerResult] = []
        env_ids: list[int] = []
        for arrival, rows in chosen:
            assert arrival.result is not None
            result, ids = arrival.result, arrival.env_ids
            if result.infos:  # by row from here on
                start = self._shares[arrival.call.worker].start
                row_of = {env_id - start: row for row, env_id in enumerate(ids)}
                infos = [(row_of[index], info) for index, info in result.infos if index in row_of]
                result = result._replace(infos=infos)
            found.append(rows_of(result, rows))
            env_ids += ids if len(rows) == len(ids) else [ids[row] for row in rows]
        return (*as_batch(self.single_observation_space, joined(found)), np.array(env_ids, np.int64))

    if TYPE_CHECKING:

        def _reset_arguments(self, seed: Any, options: Any) -> tuple[list[Any], Any, list[bool] | None]: ...


def _has_rows(batch: Any, count: int) -> bool:
    """Whether a batch of arrays has ``count`` rows."""
    if type(batch) is dict:
        return all(_has_rows(part, count) for part in batch.values())
    if type(batch) is tuple:
        return all(_has_rows(part, count) for part in batch)
    return type(batch) is np.ndarray and batch.ndim > 0 and len(batch) == count


def _copied(arguments: "Packed | Encoder") -> Packed:
    """With copies of large arrays: a call that waits for its worker must not change in the meantime."""
    if arguments.buffers:
        arguments.buffers = [buffer.copy() for buffer in arguments.buffers]
    return arguments
