"""The layouts of batches of some envs, and how the results of such batches are read.

Knows the spaces of one env, and the forms of an answer. Never knows a call, or which env is in flight. Python 3.10 and
up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gym_service.client.batch_results import WorkerResult, recorded, worker_result
from gym_service.client.env_shares import Part
from gym_service.client.small_answers import ReadWhole, compile_reader
from gym_service.protocol import early_results, messages, results
from gym_service.protocol.frames import Frame
from gym_service.protocol.layout import Layout, compile_layout

# A kind of call, the bytes before the packed actions, and the layout of these.
Beginning = tuple[int, bytes, Layout]


class BatchLayouts:
    """The layouts of batches of any number of envs, and the readers of such batches.

    Does not keep the vector env alive.
    """

    def __init__(self, counts: Sequence[int], scratches: Sequence[memoryview]) -> None:
        """For workers that have so many envs, and whose connections read into this memory."""
        self._spaces: Mapping[str, Any] = {}
        self._packs_actions = True
        self._counts, self._scratches = counts, scratches
        self._known: dict[tuple[str, int], Layout | None] = {}
        self._beginnings: dict[int, Beginning] = {}  # by worker, for all of its envs
        self._small_readers: dict[tuple[int, int, int], ReadWhole] = {}

    def describe(self, description: Mapping[str, Any], packs_actions: bool) -> None:
        """Set the spaces of one env, as plain data, and whether batched actions may be packed."""
        self._spaces = {name: description[name] for name in ("observation_space", "action_space")}
        self._packs_actions = packs_actions

    def of(self, name: str, count: int) -> Layout | None:
        """The layout of ``count`` values of a space; None if they have no fixed size, or are not packed."""
        if name == "action_space" and not self._packs_actions:
            return None
        if (name, count) not in self._known:
            self._known[name, count] = compile_layout(self._spaces[name], count)
        return self._known[name, count]

    def step_beginning(self, part: Part) -> Beginning | None:
        """How a packed step of the envs of a part begins; None if batched actions have no layout."""
        if part.is_whole and part.worker in self._beginnings:
            return self._beginnings[part.worker]
        layout, head = self.of("action_space", len(part.env_ids)), bytearray()
        if layout is None:
            return None
        if self._counts[part.worker] == 1:
            kind = messages.VEC_STEP_PACKED  # a step of all its envs, which the worker has compiled
            head += layout.stamp
        else:
            kind = messages.STEP_SOME_PACKED
            early_results.begin_part(head, part.indices, layout)
        beginning = kind, bytes(head), layout
        if part.is_whole:
            self._beginnings[part.worker] = beginning
        return beginning

    def read_group(self, worker: int, count: int, form: int, frame: Frame) -> WorkerResult:
        """The results in a group. Infos still have the index of the env at its worker."""
        layout = self.of("observation_space", count)
        start, infos_of = early_results.GROUP_BYTES, self._counts[worker]
        return recorded(results.read_batch, layout, count, frame, form, frame.buffers, start, infos_of)

    def read_batch(self, worker: int, frame: Frame) -> WorkerResult:
        """The results of all envs of a worker, from an answer to a call to all of them."""
        count = self._counts[worker]
        return worker_result(self.of("observation_space", count), count, frame)

    def small_reader(self, worker: int, count: int, kind: int) -> ReadWhole:
        """A function that reads a worker's answer to a call of this kind to ``count`` envs if it is a small frame."""
        known = self._small_readers.get((worker, count, kind))
        if known is None:
            layout, is_batch = self.of("observation_space", count), kind == messages.VEC_STEP_PACKED
            known = compile_reader(layout, count, is_batch, self._scratches[worker], WorkerResult)
            self._small_readers[worker, count, kind] = known
        return known
