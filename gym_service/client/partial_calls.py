"""Calls to a worker for some of its envs, and the parts of their answers that have arrived.

Knows places of calls. Never knows a connection. Python 3.10 and up.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gym_service.client.batch_layouts import BatchLayouts
from gym_service.client.batch_results import WorkerResult
from gym_service.client.small_answers import ReadWhole, read_never
from gym_service.errors import GymServiceError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import Frame


class Sent:
    """The part of one ``send`` for one worker: a call to some of its envs."""

    def __init__(self, worker: int, env_ids: Sequence[int], kind: int, arguments: Packed) -> None:
        self.worker = worker
        self.env_ids = env_ids
        self.kind = kind
        self.arguments = arguments
        self.call_id: int | None = None  # of the call that contains it, set just before that is sent


# The Sent of an env that was not asked for. It is never in flight.
NOT_SENT = Sent(-1, (), 0, Packed())


class PartialCall(NamedTuple):
    """A call to one worker: for each place an env, and the Sent that contains it or NOT_SENT."""

    worker: int
    call_id: int
    env_ids: Sequence[int]
    parts: list[Sent]
    read: Callable[[Frame], WorkerResult] | None  # reads its answer, if that comes in one frame
    read_small: ReadWhole  # reads a whole answer that is one small frame, as a WorkerResult
    is_reset: bool = False  # of all envs of the worker; it ends at one that raises

    def ask_for_rest(self) -> None:
        """Let its envs wait for a call that returns the result of each, after a reset that has failed."""
        for sent in self.parts:
            if sent is not NOT_SENT:
                sent.kind, sent.arguments = messages.RESET_REST, Packed()
                sent.call_id = None

    @property
    def asked(self) -> Iterator[tuple[int, Sent]]:
        """The envs that were asked for, each with the Sent that contains it."""
        return ((env_id, part) for env_id, part in zip(self.env_ids, self.parts, strict=True) if part is not NOT_SENT)


class Arrival(NamedTuple):
    """A part of an answer: the results from one place of a call on, or one error."""

    call: PartialCall
    env_ids: Sequence[int]  # those at the places that it answers
    parts: list[Sent]  # the same
    result: WorkerResult | None
    error: GymServiceError | None = None


def arrived(
    call: PartialCall, start: int, count: int, result: WorkerResult | None, error: GymServiceError | None = None
) -> Arrival:
    """The Arrival of the answer for ``count`` places of a call."""
    at = slice(start, start + count)
    return Arrival(call, call.env_ids[at], call.parts[at], result, error)


Chosen = list[tuple[Arrival, Sequence[int]]]  # with the rows that are taken from each


def call_of(worker: int, call_id: int, parts: Sequence[Sent], layouts: BatchLayouts) -> PartialCall:
    """The call that combines these parts, which are of one kind."""
    kind, env_ids, places = parts[0].kind, parts[0].env_ids, [parts[0]] * len(parts[0].env_ids)
    for part in parts[1:]:
        env_ids = [*env_ids, *part.env_ids]
        places += [part] * len(part.env_ids)
    read = partial(layouts.read_batch, worker) if kind == messages.VEC_STEP_PACKED else None
    return PartialCall(worker, call_id, env_ids, places, read, layouts.small_reader(worker, len(env_ids), kind))


def calls_of_reset(
    shares: Sequence[slice],
    call_ids: Sequence[int],
    reads: Sequence[Callable[[Frame], WorkerResult]],
    env_ids: Collection[int],
) -> list[PartialCall]:
    """The calls of a reset of these envs, which was sent to each worker with this id."""
    calls, resets = [], set(env_ids)
    for worker, (share, call_id, read) in enumerate(zip(shares, call_ids, reads, strict=True)):
        own = range(share.start, share.stop)
        sent = Sent(worker, [env_id for env_id in own if env_id in resets], messages.VEC_RESET, Packed())
        sent.call_id = call_id
        parts = [sent if env_id in resets else NOT_SENT for env_id in own]
        calls.append(
            PartialCall(worker, call_id, own, parts, partial(_without_rewards, read), read_never, is_reset=True)
        )
    return calls


def _without_rewards(read: Callable[[Frame], WorkerResult], frame: Frame) -> WorkerResult:
    """The result of a reset, as ``receive`` returns it."""
    found = read(frame)
    return found._replace(rewards=np.zeros_like(found.rewards))


def merged(waiting: Sequence[Sent], bound_bytes: int) -> tuple[Sequence[Sent], Packed]:
    """The first waiting call for a worker, and those that fit into the same message: packed ones, up to the bound."""
    if len(waiting) == 1 or waiting[0].kind != messages.STEP_SOME_PACKED:
        return waiting[:1], waiting[0].arguments
    parts = [waiting[0]]
    arguments = Packed()
    arguments.head += waiting[0].arguments.head
    arguments.buffers += waiting[0].arguments.buffers
    for part in waiting[1:]:
        size_bytes = arguments.size_bytes + part.arguments.size_bytes
        if part.kind != messages.STEP_SOME_PACKED or size_bytes > bound_bytes:
            break
        arguments.head += part.arguments.head
        arguments.buffers += part.arguments.buffers
        parts.append(part)
    return parts, arguments


def first_rows(ready: Chosen, count: int) -> Chosen:
    """The first ``count`` rows of what is ready."""
    first: Chosen = []
    for arrival, rows in ready:
        if count:
            first.append((arrival, rows[:count]))
            count -= len(first[-1][1])
    return first
