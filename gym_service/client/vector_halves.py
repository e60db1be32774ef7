"""The halves of a vector env's calls: ``…_async`` starts one in all workers, ``…_wait`` returns its result.

Knows which half belongs to which. Never knows how a call is encoded. Python 3.10 and up. The names are those of
Gymnasium's AsyncVectorEnv. Its ``timeout`` is missing: the limits are those of the entry.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gym_service.client.connection import one
from gym_service.protocol.encoder import Packed

if TYPE_CHECKING:
    from gym_service.client.batch_memory import Offer
    from gym_service.client.in_flight import WorkersInFlight

Calls = list[tuple[int, Packed]]


class HalvesOfCalls:
    """A part of RemoteVectorEnv. One call can be pending at a time; until its second half, other calls are refused."""

    _workers: "WorkersInFlight"
    _half_offers: "list[Offer]"

    def step_async(self, actions: Any) -> None:
        """Start a step of all envs and return at once; ``step_wait`` returns its result.

        Raises AlreadyPendingCallError if a call is pending. While it is pending, all other calls raise it too.
        """
        self._begin_batch(self._packed(actions) or self._listed(actions))

    def step_wait(self) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """The result of the step that ``step_async`` started. Raises NoAsyncCallError if none was started."""
        return self._finish_batch("step")

    def reset_async(self, seed: Any = None, options: Any = None) -> None:
        """Start a reset of all envs; ``reset_wait`` returns its result. Arguments and errors as for ``reset``.

        ``recv`` returns its results too, without waiting for the slowest env. While envs are in flight, others can be
        reset with ``options["reset_mask"]``; then only ``recv`` returns the results.

        Raises AlreadyPendingCallError as ``step_async``, and if one of the envs is in flight.
        """
        if self._workers.env_ids_in_flight and not self._workers.has_begun:
            self._send_reset(seed, options)
            return
        calls, env_ids = self._reset_calls(seed, options)
        self._begin_batch(calls, env_ids)

    def reset_wait(self) -> tuple[Any, dict[str, Any]]:
        """The result of the reset that ``reset_async`` started. Raises NoAsyncCallError if none was started."""
        observations, _, _, _, infos = self._finish_batch("reset")
        return observations, infos

    def call_async(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Start a call of a method of every env; ``call_wait`` returns its results. Errors as ``step_async``."""
        calls = self._method_calls(name, args, kwargs)
        self._workers.begin(calls, lambda: [one] * len(calls))

    def call_wait(self) -> tuple[Any, ...]:
        """The results of the method that ``call_async`` started. Raises NoAsyncCallError if none was started."""
        return flattened(self._workers.finish("call"))

    def _begin_batch(self, calls: Calls, resets: Sequence[int] = ()) -> None:
        # Stored before the call: an interrupt may come as soon as it has begun. If it is refused, it offers nothing,
        # and the batch of the pending call is copied once more.
        self._half_offers = offers = list["Offer"]()
        self._workers.begin(calls, partial(self._offer_memory, calls, offers), resets)

    def _finish_batch(self, name: str) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        # Without the offers a batch is only copied once more, so it does no harm if an interrupt loses them here.
        offers, self._half_offers = self._half_offers, []
        return self._result(self._workers.finish(name), offers)

    if TYPE_CHECKING:

        def _packed(self, actions: Any) -> Calls | None: ...
        def _listed(self, actions: Any) -> Calls: ...
        def _reset_calls(self, seed: Any, options: Any) -> tuple[Calls, list[int]]: ...
        def _send_reset(self, seed: Any, options: Any) -> None: ...
        def _method_calls(self, name: str, args: Any, kwargs: Mapping[str, Any]) -> Calls: ...
        def _offer_memory(self, calls: Any, offers: Any) -> Any: ...
        def _result(self, found: Any, offers: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]: ...


def flattened(parts: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The results of all envs, from those of each worker."""
    return tuple(value for part in parts for value in part)
