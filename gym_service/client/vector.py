"""The vector env that a user holds: a gymnasium.vector.VectorEnv whose simulators run in another interpreter.

Knows Gymnasium's API for vector envs, and the calls. Never knows how a server was started. Python 3.10 and up,
Gymnasium 1.0 and up.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any

import gymnasium.vector
import numpy as np
from gymnasium.vector.utils import batch_space, iterate

from gym_service.client.batch_layouts import BatchLayouts
from gym_service.client.batch_memory import BatchMemory, Offer
from gym_service.client.batch_results import (
    Read,
    WorkerResult,
    as_batch,
    has_order_of,
    joined,
    part_of,
    row_bytes,
    worker_result,
)
from gym_service.client.compiled_call import NOT_COMPILED
from gym_service.client.compiled_step import CompiledStep, compile_batch_step, never
from gym_service.client.connection import Connection, one
from gym_service.client.copying import CopiedByRecipe
from gym_service.client.env_facts import reading_description
from gym_service.client.env_shares import EnvShares
from gym_service.client.generator import GeneratorsOfSimulators
from gym_service.client.in_flight import WorkersInFlight
from gym_service.client.requests import Timeouts, encode, limits_of
from gym_service.client.send_receive import SendAndReceive
from gym_service.client.spaces import refuse_larger, space_from
from gym_service.client.vector_halves import HalvesOfCalls, flattened
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.layout import compile_layout
from gym_service.protocol.values import BadValue

# New in Gymnasium 1.1; before, every vector env behaved as NEXT_STEP does.
AutoresetMode: Any = getattr(gymnasium.vector, "AutoresetMode", None) or Enum(
    "AutoresetMode", {"NEXT_STEP": "NextStep", "SAME_STEP": "SameStep", "DISABLED": "Disabled"}
)


class RemoteVectorEnv(
    CopiedByRecipe, GeneratorsOfSimulators, HalvesOfCalls, SendAndReceive, gymnasium.vector.VectorEnv[Any, Any, Any]
):
    """Several envs in other interpreters, in one or more server processes ("workers").

    Each worker holds a contiguous share of the envs and steps them one after another; a step is one round trip per
    worker, all at the same time. All results equal, bit for bit, those of SyncVectorEnv in the simulators' interpreter.
    Arrays are new in each call, writeable, and the caller's to keep.

    An error that a simulator raises is an EnvError that names the sub-environment. The vector env stays usable, as a
    SyncVectorEnv does: the envs before that one in its worker, and those of other workers, have made their step. After
    any other error, such as ServerCrashed, all workers are closed.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        descriptions: Sequence[Mapping[str, Any]],
        shares: Sequence[slice],
        *,
        autoreset_mode: Any = AutoresetMode.NEXT_STEP,
        timeouts: Timeouts = MappingProxyType({}),
        recreate: "Callable[[], RemoteVectorEnv] | None" = None,
    ) -> None:
        """Hold the envs that servers have made.

        Args:
            connections: one to each worker; the vector env owns them from here on.
            descriptions: each worker's answer to MAKE.
            shares: which sub-environments each worker holds.
            autoreset_mode: the mode that the workers use: an AutoresetMode or its value.
            timeouts: seconds for reset, step, render, call and close; a missing one means no limit.
            recreate: makes the same vector env again, for a pickled or copied one. It must pickle.
        """
        super().__init__()
        self._recreate = recreate
        self._own_generators: tuple[Any, ...] = ()
        self.num_envs = shares[-1].stop
        self._shares = shares
        self._env_shares = EnvShares(shares)
        self._limits_s = limits_of(timeouts)
        counts = [share.stop - share.start for share in shares]
        self._batch_layouts = BatchLayouts(counts, [connection.scratch for connection in connections])
        self._action_spaces = {}
        self._workers = WorkersInFlight(connections, self._limits_s, shares, self._batch_layouts)
        with reading_description(self._workers.close):
            for name in ("observation_space", "action_space"):
                refuse_larger(descriptions[0][name], connections[0].bound_bytes)
            self._hold(descriptions)
        self.metadata["autoreset_mode"] = AutoresetMode(autoreset_mode)
        for connection, layouts in zip(connections, zip(self._layouts, self._action_layouts, strict=True), strict=True):
            connection.bound_bytes += sum(layout.size_bytes for layout in layouts if layout)
            connection.allow_replies_of(connection.bound_bytes)
            connection.close_s = self._limits_s["close"]
        self._batch_memory = BatchMemory([connection.arena for connection in connections])
        self._compiled_step = self._compile_step(connections)
        self._finalizer = weakref.finalize(self, self._workers.close, self._limits_s["close"])

    def _compile_step(self, connections: Sequence[Connection]) -> CompiledStep:
        """The step as one function; with several workers, or with large arrays, there is none."""
        if len(connections) > 1:
            return never
        return compile_batch_step(
            connections[0],
            self._action_layouts[0],
            self._layouts[0],
            self.num_envs,
            self._limits_s["step"],
            self._reads[0],
            self._workers.is_free,
            self._workers.leave_one,
        )

    def _hold(self, descriptions: Sequence[Mapping[str, Any]]) -> None:
        first = descriptions[0]
        self.single_observation_space = space_from(first["observation_space"])
        self.single_action_space = space_from(first["action_space"])
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = dict(first["metadata"])
        self.render_mode = first["render_mode"]
        self._targets = tuple(dict(description["target"]) for description in descriptions)
        self._batch_layouts.describe(first, has_order_of(self.single_action_space, self.action_space))
        counts = [share.stop - share.start for share in self._shares]
        self._layouts = [compile_layout(first["observation_space"], count) for count in counts]
        self._action_layouts = [self._batch_layouts.of("action_space", count) for count in counts]
        self._reads = [
            partial(worker_result, layout, count) for layout, count in zip(self._layouts, counts, strict=True)
        ]
        self._row_bytes = row_bytes(self._layouts, counts)
        self._half_offers: list[Offer] = []  # for a pending call

    @property
    def targets(self) -> tuple[dict[str, Any], ...]:
        """Facts about each worker, as in ``RemoteEnv.target``; ``env`` is that of its first env."""
        return tuple({**target, "arrays": self._workers.arrays_seen} for target in self._targets)

    # -- Gymnasium's contract ------------------------------------------------------------------------------------

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every env, or in those of a mask: (observations, infos).

        Args:
            seed: an int, Python's or numpy's, is the seed of the first env; the next env has one more, and so on. A
                sequence has one seed for each env, of any type that the simulator takes, or None. None seeds no env.
            options: for every env; or a list or tuple with one item per env. In the former ``options["reset_mask"]``,
                bool of shape (num_envs,), selects the envs to reset; the others keep their observation.

        Raises:
            TypeError, ValueError: seeds or options of another length, a numpy int without room to count up, or an
                invalid mask. Nothing was reset.
            EnvError: an env raised.
        """
        calls, env_ids = self._reset_calls(seed, options)
        observations, _, _, _, infos = self._made(calls, resets_all=len(env_ids) == self.num_envs)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of every env: (observations, rewards, terminations, truncations, infos).

        Returns:
            The batched observations, float64 (num_envs,), bool (num_envs,) twice, and infos in Gymnasium's layout.
        """
        result = self._compiled_step(actions)
        if result is NOT_COMPILED:
            return self._made(self._packed(actions) or self._listed(actions))
        return result if type(result) is tuple else self._result([result], [])

    def render(self) -> tuple[Any, ...]:
        """The rendering of each env, in the mode it was made with."""
        return self._gathered([(messages.RENDER, Encoder())] * len(self._shares))

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every env, or of a wrapper around it; an attribute that is no method gives its value."""
        if name == "np_random" and not args and not kwargs:
            return self._generators()
        return self._gathered(self._method_calls(name, args, kwargs))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every env. As in SyncVectorEnv, a method is called."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every env: a list or tuple holds one value for each, anything else is for all."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{len(values)} values for {self.num_envs} sub-environments")
        parts = [encode(("$.name", name), ("$.values", list(values[at])), ("$.force", True)) for at in self._shares]
        self._workers.call([(messages.SET, part) for part in parts], lambda: [one] * len(parts))

    @property
    def np_random_seed(self) -> Any:
        """The seed of each env's own generator."""
        return self.get_attr("np_random_seed")

    @property  # type: ignore[misc]
    def np_random(self) -> Any:
        """The generator of each env, a tuple. Drawing from one of them draws in its simulator.

        Raises AttributeError if an env has none, and CannotCross if one is not a numpy generator.
        """
        return self._generators()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the envs and wait until all workers have ended; ``close`` calls this. Blocks as ``RemoteEnv.close``."""
        self._workers.close(self._limits_s["close"])
        self._half_offers = []
        self._finalizer.detach()  # not earlier: an interrupted close() can be called again

    # ------------------------------------------------------------------------------------------------------------

    def _carried(self) -> dict[str, Any]:
        return {"spec": self.spec}

    def _require_reset(self) -> None:
        calls = [(messages.REQUIRE_RESET, Encoder())] * len(self._shares)
        self._workers.call(calls, lambda: [one] * len(calls))

    def _method_calls(self, name: str, args: Any, kwargs: Any) -> list[tuple[int, Packed]]:
        given = ("$.name", name), ("$.args", args), ("$.kwargs", kwargs)
        return [(messages.CALL, encode(*given)) for _ in self._shares]

    def _reset_arguments(self, seed: Any, options: Any) -> tuple[list[Any], Any, list[bool] | None]:
        """The seed of each env; options for all, or a list with one item per env; the envs to reset, None for all."""
        seeds = self._seeds(seed)
        if isinstance(options, (list, tuple)):
            if len(options) != self.num_envs:
                raise ValueError(f"options for {len(options)} of {self.num_envs} sub-environments")
            return seeds, list(options), None
        if options is None or "reset_mask" not in options:
            return seeds, options, None
        rest = {key: value for key, value in options.items() if key != "reset_mask"}
        return seeds, rest, self._mask(options["reset_mask"])

    def _reset_calls(self, seed: Any, options: Any) -> tuple[list[tuple[int, Packed]], list[int]]:
        """The calls of a reset, and the envs that it resets."""
        seeds, options, mask = self._reset_arguments(seed, options)
        calls: list[tuple[int, Packed]] = []
        for share in self._shares:
            own = options[share] if isinstance(options, list) else options
            chosen = None if mask is None else mask[share]
            given = ("$.seeds", seeds[share]), ("$.options", own), ("$.mask", chosen)
            calls.append((messages.VEC_RESET, encode(*given)))
        return calls, [env_id for env_id in range(self.num_envs) if mask is None or mask[env_id]]

    def _seeds(self, seed: Any) -> list[Any]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, np.integer):  # SyncVectorEnv refuses these; here it counts up in its own type
            if int(seed) + self.num_envs - 1 > np.iinfo(seed.dtype).max:
                raise ValueError(f"seed={seed!r}: {seed.dtype} cannot count up for {self.num_envs} sub-environments")
            return [type(seed)(int(seed) + index) for index in range(self.num_envs)]
        if isinstance(seed, int):
            return [seed + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} sub-environments")
        return list(seed)

    def _mask(self, mask: Any) -> list[bool]:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a numpy array of bool, not {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"options['reset_mask'] must have shape ({self.num_envs},) and a True in it, not {mask!r}")
        return mask.tolist()

    def _packed(self, actions: Any) -> list[tuple[int, Packed]] | None:
        """The calls of a step whose actions fit the layouts; None if they do not."""
        calls = []
        for share, layout in zip(self._shares, self._action_layouts, strict=True):
            if layout is None:
                return None
            if share.stop == self.num_envs:
                share = slice(share.start, None)  # so that too many actions do not fit
            part = actions if len(self._shares) == 1 else part_of(actions, share)
            packed = Packed()
            packed.head += layout.stamp
            if not layout.pack(part, packed.head, packed.buffers):
                return None
            calls.append((messages.VEC_STEP_PACKED, packed))
        return calls

    def _listed(self, actions: Any) -> list[tuple[int, Packed]]:
        each = list(iterate(self.action_space, actions))
        if len(each) != self.num_envs:
            raise ValueError(f"{len(each)} actions for {self.num_envs} sub-environments")
        return [(messages.VEC_STEP, encode(("$.actions", each[share]))) for share in self._shares]

    def _made(self, calls: Sequence[tuple[int, Packed]], *, resets_all: bool = False) -> tuple[Any, ...]:
        """Make a whole call that a batch answers."""
        offers: list[Offer] = []
        found = self._workers.call(calls, partial(self._offer_memory, calls, offers), resets_all=resets_all)
        return self._result(found, offers)

    def _offer_memory(self, calls: Sequence[tuple[int, Packed]], offers: list[Offer]) -> Sequence[Read]:
        """Offer the workers memory for the large leaves of the batch that answers a call; returns its readers."""
        offers += self._batch_memory.offer([size * self.num_envs for size in self._row_bytes])
        if not offers:
            return self._reads
        for worker, (_, arguments) in enumerate(calls):
            arguments.offers = tuple(offer[1][worker] for offer in offers)
            arguments.leases = tuple(offer[0] for offer in offers)
        whole = [memoryview(offer[0]).cast("B") for offer in offers]
        reads = []
        for read, share in zip(self._reads, self._shares, strict=True):
            sized = zip(whole, self._row_bytes, strict=True)
            reads.append(partial(read, placed=[part[share.start * size : share.stop * size] for part, size in sized]))
        return reads

    def _result(self, found: Sequence[WorkerResult], offers: list[Offer]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        return as_batch(self.single_observation_space, joined(found, offers))

    def _ask_workers(self, name: str, asked: Mapping[int, tuple[Any, ...] | None]) -> Mapping[int, Any]:
        indices, calls = sorted(asked), []  # a worker without any of them gets an empty request, in the same round trip
        for share in self._shares:
            part = [(index - share.start, asked[index]) for index in indices if share.start <= index < share.stop]
            calls.append((messages.RANDOM, encode(("$.name", name), ("$.np_random", part))))
        results = self._gathered(calls)
        if len(results) != len(indices):
            raise BadValue(f"{len(results)} generators came where {len(indices)} were asked for")
        return dict(zip(indices, results, strict=True))

    def _gathered(self, calls: Sequence[tuple[int, Packed]]) -> tuple[Any, ...]:
        return flattened(self._workers.call(calls, lambda: [one] * len(calls)))


def shares_of(num_envs: int, workers: int) -> list[slice]:
    """The share of each worker, contiguous and as equal as possible, the larger ones first; none of them is empty."""
    if num_envs < 1:
        raise ValueError(f"num_envs={num_envs}: a vector env holds at least one env")
    size, rest = divmod(num_envs, min(workers, num_envs))
    shares: list[slice] = []
    start = 0
    while start < num_envs:
        stop = start + size + (len(shares) < rest)
        shares.append(slice(start, stop))
        start = stop
    return shares
