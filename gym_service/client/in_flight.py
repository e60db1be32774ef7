"""Calls to some of a vector env's sub-environments: sent as early as possible, answered as each env is ready.

Knows connections, turns, and which env is in flight where. Never knows an action or an observation. Python 3.10 and up.

One assignment changes each fact, so an interrupt may come at any line, as in ``exchange.py``:

=====================  ===========================================================================================
in flight              the env is a key of ``_in_flight``; the value is the ``Sent`` that contains it
waiting                it is in flight, and its ``Sent`` is in no call of its worker: the worker is busy
at the worker          its worker has the call, and the answer for its place has not arrived
ready                  an ``Arrival`` contains its place in that call
=====================  ===========================================================================================

``send`` adds keys. ``receive`` removes those that it returns, as its last action. Everything else follows: a waiting
call is sent when its worker is idle, in order of arrival; results are kept in order of arrival. So the next ``receive``
after an interrupt continues, and nothing is lost or returned twice. A worker has one call at a time. Everything sent to
it in the meantime is combined into one call when that one is answered.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TypeVar

from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError

from gym_service.client import error_mapping, partial_calls
from gym_service.client.arrivals import read_arrival
from gym_service.client.batch_layouts import BatchLayouts
from gym_service.client.call_queue import Ticket, new_ticket
from gym_service.client.connection import Connection, fields
from gym_service.client.exchange import WIRE_ERRORS
from gym_service.client.partial_calls import Arrival, Chosen, PartialCall, Sent
from gym_service.client.readiness import Readiness
from gym_service.client.workers import Workers
from gym_service.errors import ClosedError, ForkedError, GymServiceError
from gym_service.protocol import messages
from gym_service.protocol.frames import Frame
from gym_service.protocol.interrupts import is_foreign

T = TypeVar("T")

# How long workers are waited for in turn, where all of them must answer (seconds): light steps do not take longer.
# Results that come within this time may be in another order.
IN_TURN_S = 1e-3


class WorkersInFlight(Workers):
    """Workers whose envs can also be called one by one. While any is in flight, calls of all workers are refused."""

    def __init__(
        self,
        connections: Sequence[Connection],
        limits_s: Mapping[str, float],
        shares: Sequence[slice],
        layouts: BatchLayouts,
    ) -> None:
        """Call these workers; ``shares`` are their envs."""
        super().__init__(connections, limits_s, shares[-1].stop)
        self._shares = shares
        self._layouts = layouts
        self._readiness = Readiness(connections)
        self._in_flight: dict[int, Sent] = {}
        self._calls: dict[int, PartialCall] = {}  # the last call of each worker
        self._arrivals: list[Arrival] = []
        self._may_wait = False  # whether anything in flight may wait for its worker
        self._was_interrupted = False  # whether a call to some envs is in progress, or was interrupted

    def is_free(self) -> bool:
        """As ``Workers.is_free``; with envs in flight it cannot."""
        return super().is_free() and not self._in_flight and not self._was_interrupted

    def _can_send_at_once(self) -> bool:
        """Whether no earlier call, such as an interrupted one, must be finished before a call to some envs."""
        return self.is_free() and all(map(attrgetter("is_idle"), self._connections))

    @property
    def env_ids_in_flight(self) -> tuple[int, ...]:
        """The envs that were sent and not received, in the order of sending."""
        if self._queue.half is not None and self._connections[0].during == "reset":
            return tuple(self._half_resets)
        return tuple(self._in_flight)

    def send(self, parts: Sequence[Sent], during: str) -> None:
        """Make workers carry out these calls; a busy worker does so when its present call is answered.

        Blocks until the kernel has taken the calls of idle workers; before that, while another thread's call runs.

        Args:
            parts: one for each worker that has any of the envs. Their memory must not belong to the caller.
            during: the name of the call, for errors.

        Raises:
            AlreadyPendingCallError: one of these envs is in flight, or half a call is pending.
            CannotCross: a part is larger than a message may be. Nothing was sent.
            Otherwise as ``call``.
        """
        ticket = new_ticket()
        try:
            self._take_turn(ticket, during, self._limits_s["step"])
            self._take_over_reset()
            for part in parts:
                connection = self._connections[part.worker]
                if part.arguments.size_bytes > connection.bound_bytes:
                    raise error_mapping.too_large(part.arguments, connection.bound_bytes)
            new: dict[int, Sent] = {}
            for part in parts:
                new.update(dict.fromkeys(part.env_ids, part))
            if not new.keys().isdisjoint(self._in_flight):
                named = error_mapping.envs_named([env_id for env_id in new if env_id in self._in_flight])
                raise AlreadyPendingCallError(f"{during}: {named} in flight already\n  try: recv() first", during)
            if self._in_flight:
                self._catch_up()
            elif not self._can_send_at_once():
                self._open(parts[0].kind, False)
            self._was_interrupted = True
            may_wait, self._may_wait = self._may_wait, True
            self._in_flight = {**self._in_flight, **new}
            self._dispatch(None if may_wait else parts)
            self._was_interrupted = False
            self._queue.leave(ticket)
        except BaseException as error:
            self._leave_with(ticket, error)
            raise
        self._warn()

    def receive(
        self, compose: Callable[[Chosen], T], min_envs: int, max_envs: int | None, timeout_s: float | None
    ) -> T:
        """Wait for results, and return what ``compose`` makes of them, in order of arrival.

        Blocks until ``min_envs`` envs are ready, at most ``timeout_s`` seconds, and no longer than the calls of the
        workers may take.

        Raises:
            NoAsyncCallError: no env is in flight.
            ValueError: fewer than ``min_envs`` are.
            EnvError, CannotCross: of one env, which is no longer in flight. The other envs are not affected.
            CallTimeout: in the state ``waiting``, ``timeout_s`` has passed; nothing is lost. Otherwise all is closed.
            Otherwise as ``call``.
        """
        ticket = new_ticket()
        limit_s = self._limits_s["step"] if timeout_s is None else timeout_s
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        try:
            self._take_turn(ticket, "recv", limit_s)
            self._take_over_reset()
            if not self._in_flight:
                raise NoAsyncCallError("no sub-environment is in flight\n  try: send() first", "recv")
            if len(self._in_flight) < min_envs:
                raise ValueError(f"min_envs={min_envs}: {len(self._in_flight)} sub-environments are in flight")
            if self._was_interrupted or self._arrivals or timeout_s is not None:
                self._catch_up()
            self._was_interrupted = True  # until this call has ended
            ready = self._await(min_envs, until, timeout_s)
            result = self._composed(compose, ready if max_envs is None else partial_calls.first_rows(ready, max_envs))
            self._was_interrupted = False
            self._queue.leave(ticket)
        except BaseException as error:
            self._leave_with(ticket, error)
            raise
        self._warn()
        return result

    def close(self, ask_s: float, reason: str = "it was closed with close()") -> None:
        """As ``Workers.close``; what is in flight is lost."""
        super().close(ask_s, reason)
        self._in_flight, self._arrivals = {}, []

    # -- turns -----------------------------------------------------------------------------------------------------

    def _take_turn(self, ticket: Ticket, during: str, limit_s: float, *, is_second_half: bool = False) -> None:
        if during in _OF_SOME:
            is_second_half = self._connections[0].during == "reset"  # then a pending half, if any, is this reset
            super()._take_turn(ticket, during, limit_s, is_second_half=is_second_half)
            self._connections[0].refuse()
            return
        super()._take_turn(ticket, during, limit_s, is_second_half=is_second_half)
        if self._in_flight:
            named = error_mapping.envs_named(self.env_ids_in_flight)
            text = f"{during} was called with {named} in flight\n  try: recv(min_envs={len(self._in_flight)}) first"
            raise AlreadyPendingCallError(text, during)

    def _take_over_reset(self) -> None:
        """Convert a pending reset into calls whose results ``receive`` returns."""
        if self._queue.half is None or self._connections[0].during != "reset":
            return
        last_ids = [connection.last_id for connection in self._connections]
        found = partial_calls.calls_of_reset(self._shares, last_ids, self._half_reads, self._half_resets)
        calls = {call.worker: call for call in found}
        in_flight = {env_id: part for call in found for env_id, part in call.asked}
        # An interrupt after the next line leaves a reset whose answer is dropped, like one in ``finish``.
        self._queue.half = None
        self._calls, self._in_flight = calls, in_flight
        self._half_reads = ()

    # -- what is sent ----------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Read what has arrived, and send waiting calls to idle workers; first finish what an interrupt left undone."""
        found: Sequence[int]
        worker = 0
        try:
            if self._was_interrupted:
                found = [number for number, connection in enumerate(self._connections) if not connection.is_idle]
                for worker in found:
                    self._connections[worker].resume()
            else:
                found = self._readiness.now()
        except WIRE_ERRORS as error:
            raise self._explained(worker, error) from error
        self._was_interrupted = True  # until this call has ended
        for worker in found:
            self._read_from(worker)
        self._dispatch()

    def _dispatch(self, parts: Sequence[Sent] | None = None) -> None:
        """Send waiting calls to idle workers. ``parts`` are all that wait, one for each worker, if that is known."""
        if not self._may_wait:
            return
        waiting: dict[int, list[Sent]] = {part.worker: [part] for part in parts or ()}
        if parts is None:
            for sent in dict.fromkeys(self._in_flight.values()):
                if sent.call_id is None or not self._is_under_way(sent):
                    waiting.setdefault(sent.worker, []).append(sent)
        remaining = 0
        for worker, own in waiting.items():
            remaining += len(own)
            if self._connections[worker].is_idle:
                remaining -= self._send_to(worker, own)
        self._may_wait = remaining > 0

    def _is_under_way(self, sent: Sent) -> bool:
        """Whether a call that its worker has, or has answered, contains it."""
        assert sent.call_id is not None
        return (self._connections[sent.worker].last_id - sent.call_id) & 0xFFFFFFFF < 2**31

    def _send_to(self, worker: int, waiting: Sequence[Sent]) -> int:
        """Send the first waiting call, combined with those that fit into the same message. Returns their number."""
        connection = self._connections[worker]
        parts, arguments = partial_calls.merged(waiting, connection.bound_bytes)
        kind, call_id = parts[0].kind, connection.next_id
        self._calls[worker] = partial_calls.call_of(worker, call_id, parts, self._layouts)
        for part in parts:
            part.call_id = call_id
        try:
            connection.begin_early(kind, arguments, self._limits_s[messages.CALL_NAMES[kind]])
        except WIRE_ERRORS as error:
            raise self._explained(worker, error) from error
        return len(parts)

    # -- what comes ------------------------------------------------------------------------------------------------

    def _await(self, min_envs: int, until: float, timeout_s: float | None) -> Chosen:
        """Read until ``min_envs`` envs are ready. Returns those. Raises the error of an env when it arrives."""
        while True:
            self._raise_error()
            ready = self._ready()
            count = sum([len(rows) for _, rows in ready])
            if count >= min_envs:
                return ready
            if timeout_s is not None and time.monotonic() >= until:
                raise error_mapping.not_ready(timeout_s, min_envs, count, self.env_ids_in_flight)
            if min_envs < len(self._in_flight) or not self._read_each(until):
                self._dispatch()
                for worker in self._wait(until):
                    self._read_from(worker)
            self._dispatch()

    def _read_each(self, until: float) -> bool:
        """Wait for each worker in turn, for IN_TURN_S at most. Returns whether all have answered.

        Where all envs are wanted, so that each worker must answer, this takes fewer wake-ups.
        """
        until = min(until, time.monotonic() + IN_TURN_S)
        for worker, connection in enumerate(self._connections):
            if not connection.is_idle and not self._read_from(worker, until) and not connection.is_idle:
                return False
        return True

    def _wait(self, until: float) -> Sequence[int]:
        """The workers that have something to read, as soon as there are any; after a while, all workers."""
        busy = [number for number, connection in enumerate(self._connections) if not connection.is_idle]
        deadlines = {number: self._connections[number].deadline for number in busy}
        ends = [deadline for deadline in deadlines.values() if deadline is not None]
        number = 0
        try:
            found = self._readiness.wait(min([until, *ends]), len(busy))
            if found:
                return found
            for number, deadline in deadlines.items():
                if deadline is not None and time.monotonic() >= deadline:
                    self._connections[number].wait_late()
        except WIRE_ERRORS as error:
            raise self._explained(number, error) from error
        return busy

    def _read_from(self, worker: int, until: float | None = None) -> bool:
        """Read what has arrived, or wait for it until then. Returns whether it was a whole answer in one frame."""
        connection = self._connections[worker]
        try:
            if until is not None and self._readiness.wait_for(worker, until):
                until = None
            if not connection.is_idle and not self._answered_places(call := self._calls[worker]):
                result = connection.poll_small(call.read_small, call.call_id, until)
                if result is not None:
                    self._arrivals.append(Arrival(call, call.env_ids, call.parts, result))
                    connection.take_small()
                    return True
            connection.read_early(partial(self._note, worker))
        except WIRE_ERRORS as error:
            raise self._explained(worker, error) from error
        return False

    def _note(self, worker: int, frame: Frame) -> None:
        """Store the content of an answer's frame. A frame stored before, after an interrupt, changes nothing."""
        call = self._calls[worker]
        start = self._answered_places(call)
        if call.is_reset and frame.kind == messages.ERROR and fields(frame, 5)[0] != messages.ILLEGAL:
            self._may_wait = True  # not later: nothing would send the rest after an interrupt
            call.ask_for_rest()
        elif start < len(call.env_ids):
            arrival = read_arrival(call, start, frame, self._layouts)
            if arrival is not None:
                self._arrivals.append(arrival)

    def _answered_places(self, call: PartialCall) -> int:
        """How many places of the call in progress of a worker are answered."""
        return sum([len(arrival.env_ids) for arrival in self._arrivals if arrival.call is call])

    # -- what is ready ---------------------------------------------------------------------------------------------

    def _ready(self) -> Chosen:
        """The results that have arrived and were not received yet, in order of arrival."""
        due = [(arrival, self._due_rows(arrival)) for arrival in self._arrivals if arrival.error is None]
        return [(arrival, rows) for arrival, rows in due if rows]

    def _due_rows(self, arrival: Arrival) -> Sequence[int]:
        """The rows of an arrival whose envs are still in flight for it."""
        in_flight, parts = list(map(self._in_flight.get, arrival.env_ids)), arrival.parts
        if in_flight == parts:  # mostly; two Sents are equal if they are the same
            return range(len(parts))
        return [row for row, sent in enumerate(parts) if in_flight[row] is sent]

    def _composed(self, compose: Callable[[Chosen], T], chosen: Chosen) -> T:
        env_ids: list[int] = []
        for arrival, rows in chosen:
            is_all = len(rows) == len(arrival.env_ids)
            env_ids += arrival.env_ids if is_all else map(arrival.env_ids.__getitem__, rows)
        try:
            result = compose(chosen)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if not is_foreign(error):  # no batch can be made from them, however often it is tried
                self._forget(env_ids)
            raise
        self._forget(env_ids)
        return result

    def _raise_error(self) -> None:
        """Raise the first error that has arrived, once. Its env is then no longer in flight."""
        for arrival in self._arrivals:
            if arrival.error is not None:
                rows = self._due_rows(arrival)
                if rows:
                    self._forget([arrival.env_ids[row] for row in rows])
                    raise arrival.error

    def _forget(self, env_ids: Sequence[int]) -> None:
        """Remove envs, which must be in flight, from flight; and drop results that no caller needs."""
        remaining: dict[int, Sent] = {}
        if len(env_ids) < len(self._in_flight):
            remaining = self._in_flight.copy()
            for env_id in env_ids:
                del remaining[env_id]
        self._in_flight = remaining
        self._arrivals = [arrival for arrival in self._arrivals if self._is_needed(arrival)]

    def _is_needed(self, arrival: Arrival) -> bool:
        """Whether it has results to return, or says how much of a pending call has been answered."""
        worker = arrival.call.worker
        if not self._in_flight and len(arrival.env_ids) == len(arrival.call.env_ids):
            return False
        is_current = self._calls[worker] is arrival.call and not self._connections[worker].is_idle
        return is_current or bool(self._in_flight and self._due_rows(arrival))

    def _explained(self, worker: int, error: BaseException) -> BaseException:
        """As ``Connection.explained``, with the envs that were in flight at this worker."""
        mapped = self._connections[worker].explained(error)
        if not isinstance(mapped, GymServiceError) or isinstance(mapped, (ClosedError, ForkedError)):
            return mapped
        arrived = {arrival.env_ids[row] for arrival, rows in self._ready() for row in rows}
        there = [env_id for env_id, sent in self._in_flight.items() if sent.worker == worker and env_id not in arrived]
        return error_mapping.with_envs(mapped, there)


_OF_SOME = ("send", "recv", "reset_async")
