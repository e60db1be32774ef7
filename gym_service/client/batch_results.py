"""Combines the results of several workers into one batch, in Gymnasium's layout.

Knows batched observations, and infos by row. Never knows a call, or which env is in which row. Python 3.10 and up,
Gymnasium 1.0 and up.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import gymnasium.vector
import numpy as np
from gymnasium.spaces import Dict, GraphInstance, Space, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array

from gym_service.client.arrays import NUMPY
from gym_service.client.batch_memory import Offer
from gym_service.protocol import results
from gym_service.protocol.frames import Frame
from gym_service.protocol.layout import Layout, rows
from gym_service.protocol.values import LARGE_BYTES


class WorkerResult(NamedTuple):
    """One worker's answer to a step or a reset of its envs."""

    observations: Any  # batched, or a list if they do not fit the layout
    rewards: "np.ndarray[Any, Any]"  # float64, one for each env of the worker; the next two are the same, of bool
    terminations: "np.ndarray[Any, Any]"
    truncations: "np.ndarray[Any, Any]"
    infos: list[tuple[int, Any]]  # (index of the env at the worker, dict)
    converted: Sequence[Any] = ()  # the arrays in the infos that were no arrays of numpy's in the simulator


Read = Callable[..., WorkerResult]  # decodes it from a frame


def joined(found: Sequence[WorkerResult], offers: Sequence[Offer] = ()) -> WorkerResult:
    """The results of several workers as a single result, in this order."""
    if len(found) == 1:
        return found[0]
    observations, rewards, terminations, truncations, infos_of, converted = zip(*found, strict=True)
    infos, start = [], 0
    if any(infos_of):
        for part in found:
            infos += [(start + row, info) for row, info in part.infos]
            start += len(part.rewards)
    if list in map(type, observations):
        listed: list[Any] = []
        for part in found:
            is_list = type(part.observations) is list
            listed += part.observations if is_list else rows(part.observations, len(part.rewards))
        whole: Any = listed
    else:
        whole = _concatenated(observations, iter([offer[0] for offer in offers]))
    return WorkerResult(
        whole,
        np.concatenate(rewards),
        np.concatenate(terminations),
        np.concatenate(truncations),
        infos,
        list(chain.from_iterable(converted)),
    )


def rows_of(result: WorkerResult, chosen: Sequence[int]) -> WorkerResult:
    """Some rows of a result, in this order. Arrays are copied, unless all rows are chosen."""
    if len(chosen) == len(result.rewards):
        return result
    observations = result.observations
    if type(observations) is list:
        observations = [observations[row] for row in chosen]
    else:
        observations = part_of(observations, list(chosen))
    at = {row: place for place, row in enumerate(chosen)}
    infos = [(at[row], info) for row, info in result.infos if row in at]
    at_rows = list(chosen)
    flags = result.terminations[at_rows], result.truncations[at_rows]
    return WorkerResult(observations, result.rewards[at_rows], *flags, infos, result.converted)


def as_batch(space: Space[Any], result: WorkerResult) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """The five values that ``step`` returns; ``space`` is that of one env."""
    observations, rewards, terminations, truncations, infos, converted = result
    count = len(rewards)
    if type(observations) is list:
        out: Any = create_empty_array(space, n=count, fn=np.zeros)
        observations = concatenate(space, observations, out)
    columns = _InfoColumns(count, converted).gathered(infos) if infos else {}
    return observations, rewards, terminations, truncations, columns


class _InfoColumns(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Gymnasium's own code for gathering infos, for a number of envs.

    Gymnasium stacks arrays of numpy's, and puts tensors and other objects into arrays of objects. A tensor is an array
    by the time it is here. So its column is an array of objects too.
    """

    closed = True

    def __init__(self, count: int, converted: Sequence[Any]) -> None:
        self.num_envs = count
        self._converted = set(map(id, converted))

    def gathered(self, infos: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for row, info in infos:
            found = self._add_info(found, info, row)
        return found

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        """Gymnasium calls this for each dict in an info."""
        if not self._converted:
            return super()._add_info(vector_infos, env_info, env_num)
        for key, value in env_info.items():
            if id(value) in self._converted and key not in vector_infos:
                vector_infos[key] = np.full(self.num_envs, None, dtype=object)
            vector_infos = super()._add_info(vector_infos, {key: value}, env_num)
        return vector_infos


class _Recording:
    """Converts arrays of other libraries with a connection's converter, and records the results."""

    def __init__(self, convert: Callable[[Any, str, int], Any]) -> None:
        self._convert = convert
        self.converted: list[Any] = []

    def __call__(self, array: Any, label: str, flags: int) -> Any:
        made = self._convert(array, label, flags)
        if label != NUMPY:  # bfloat16 of ml_dtypes is an array of numpy's in the simulator too
            self.converted.append(made)
        return made


def recorded(
    decode: Callable[..., tuple[Any, ...]], layout: Layout | None, count: int, frame: Frame, *more: Any
) -> WorkerResult:
    """The WorkerResult that ``results.decode_batch`` or ``results.read_batch`` reads from a frame."""
    recording = frame.arrays = _Recording(frame.arrays)
    read = WorkerResult(*decode(layout, count, frame, GraphInstance, *more))
    return read._replace(converted=recording.converted)


def worker_result(layout: Layout | None, count: int, frame: Frame, placed: Sequence[memoryview] = ()) -> WorkerResult:
    """The answer of a worker that has ``count`` envs."""
    return recorded(results.decode_batch, layout, count, frame, placed)


def has_order_of(space: Space[Any], batched: Space[Any]) -> bool:
    """Whether the keys of a batched space have the order of the single one: Gymnasium sorts them in some cases.

    An env gets its part of batched actions in the order of the batched space, as in SyncVectorEnv.
    """
    if isinstance(space, Dict) and isinstance(batched, Dict):
        parts = [has_order_of(part, batched[key]) for key, part in space.spaces.items()]
        return list(space.spaces) == list(batched.spaces) and all(parts)
    if isinstance(space, Tuple) and isinstance(batched, Tuple):
        return all(has_order_of(*pair) for pair in zip(space.spaces, batched.spaces, strict=True))
    return True


def row_bytes(layouts: Sequence[Layout | None], counts: Sequence[int]) -> list[int]:
    """The bytes of one env in each leaf that is large for every worker; empty if the workers differ in that."""
    rows = {
        tuple(size // count for size in layout.buffer_bytes) if layout else ()
        for layout, count in zip(layouts, counts, strict=True)
    }
    return list(rows.pop()) if len(rows) == 1 else []


def part_of(actions: Any, rows: Any) -> Any:
    """Some rows of a batch. Anything but an array, dict or tuple fits no layout, and is returned unchanged."""
    if type(actions) is np.ndarray and actions.ndim:
        return actions[rows]
    if type(actions) is dict:
        return {key: part_of(part, rows) for key, part in actions.items()}
    if type(actions) is tuple:
        return tuple(part_of(part, rows) for part in actions)
    return actions


def _concatenated(parts: Sequence[Any], offers: Iterator[Any]) -> Any:
    if type(parts[0]) is dict:
        return {key: _concatenated([part[key] for part in parts], offers) for key in parts[0]}
    if type(parts[0]) is tuple:
        return tuple(_concatenated([part[at] for part in parts], offers) for at in range(len(parts[0])))
    offer = next(offers, None) if parts[0].nbytes >= LARGE_BYTES else None
    if offer is not None:  # the offers are in the order of the large leaves
        whole = np.ndarray((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype, offer)
        if all(np.may_share_memory(part, whole) for part in parts):
            return whole
    return np.concatenate(parts)
