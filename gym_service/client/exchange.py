"""One call after another over a channel, each with an answer, a deadline and an id; all of its errors are mapped here.

Knows messages, ids, deadlines, and which failures are final. Never knows threads (``connection.py``), how a server was
started, or the wording of errors (``error_mapping.py``). Python 3.10 and up.

The state of an exchange is not stored in a variable. It follows from facts, each of which one assignment changes:

=======================  =========================================================================================
idle                     the call that was sent last (``channel.outgoing``) is also the one that was answered last
sending call N           N is not answered, and part of its frame is not written yet
awaiting the answer of N all of it is written, and nothing of the answer is read
reading                  the decoder has a part of a frame
abandoned                N is not answered, and a new call is opened: N's caller was interrupted
closed                   ``_closed_by`` names the reason; so does ``failure``, unless it was ``close()``
=======================  =========================================================================================

Interrupts. A signal handler may raise anything, at any line of a call, and its exception propagates unchanged. Nothing
is repaired at that moment, since another exception could interrupt the repair. The next call does so
(``_drop_answer``): it sends the rest of the frame, reads the whole answer within its own timeout, and drops it. So the
interrupted call is carried out, and its answer never becomes another call's. The call's own function reads the answer,
so that facts about the simulator are recorded; slots are returned, images are decoded (later ones may be differences to
them), warnings are kept. If that is impossible (``Channel.is_in_step``), the connection fails as if the server had
died.

A CallTimeout is not an interrupt: it stops the server and closes the channel.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from gymnasium.spaces import GraphInstance

from gym_service.client import error_mapping
from gym_service.client.arrays import ArrayMaker
from gym_service.client.error_mapping import Peer
from gym_service.errors import CannotCross, ClosedError, EnvError, GymServiceError
from gym_service.protocol import messages
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import BOUND_BYTES, BadFrame, Frame
from gym_service.protocol.values import BadValue
from gym_service.transport.arena import Arena
from gym_service.transport.channel import Channel
from gym_service.transport.image_codec import ImageDecoder
from gym_service.transport.streams import ChannelClosed, ChannelTimeout

T = TypeVar("T")

_RESULTS = (messages.RESULT, messages.STEPPED, messages.PLACED)
WIRE_ERRORS = (ChannelClosed, ChannelTimeout, BadFrame, BadValue)
# After a deadline: how long the next byte may take, as long as bytes keep arriving (seconds). The first may take less:
# if this process was stopped, the kernel has it or takes it at once.
LATE_GAP_S = 0.5
FIRST_LATE_GAP_S = 0.1


class Exchange:
    """Calls over a channel, one after another. Only one thread may use it at a time."""

    def __init__(self, channel: Channel, peer: Peer) -> None:
        self.bound_bytes = BOUND_BYTES
        self.failure = ""  # what closed it, unless close() did
        self.arrays = ArrayMaker()
        # Receives the facts of the env that have changed, and the id of the call whose answer contained them.
        self.on_changed: Callable[[dict[str, Any], int], None] = _unasked
        self.changes = 0  # how often on_changed was called
        self._channel = channel
        self._peer = peer
        self._answered = 0  # the id of the last call whose answer was read or dropped
        self._arguments: Packed | None = None  # the current call's, which keep the offered memory alive
        self._read: Callable[[Frame], Any] = read_nothing  # decodes the current call's answer
        self._during, self._timeout_s = "", math.inf  # of the current call
        self._deadline: float | None = None
        self._interrupted = ""  # the name of the call whose answer is being dropped
        self._warned: list[tuple[str, str]] = []
        self._process_id = os.getpid()
        self._is_forked = False  # whether this is a copy, in a forked child
        self._calls = peer.calls
        self._close_id = 0  # the id of the CLOSE that was sent, if there was one
        self._closed_by = ""  # empty while it is open
        self._has_ended = False  # whether nothing remains to be done after a failure

    @property
    def during(self) -> str:
        """The name of the current call, or of the last one."""
        return self._during

    @property
    def last_id(self) -> int:
        """The id of the call that was sent last."""
        return self._channel.outgoing[0]

    @property
    def is_closed(self) -> bool:
        """Whether it is closed, for any reason."""
        return bool(self._closed_by)

    def keep_unsent(self) -> None:
        """After an interrupt: copy unsent bytes out of memory that the caller may change."""
        self._channel.keep_unsent()

    def issue_warnings(self) -> None:
        """Issue the simulator's warnings from calls that are over."""
        if self._warned:
            error_mapping.warn(self._warned)

    # -- the parts of a call ---------------------------------------------------------------------------------------

    def open_call(self, kind: int, timeout_s: float) -> None:
        """Start the time of a call, and first finish an interrupted call. Blocks and raises as ``call``."""
        if self._closed_by or self._is_forked:
            if self.failure and not self._is_forked:
                self._end()  # finishes what an interrupt has left undone
            self.refuse()
        self._deadline = None if timeout_s == math.inf else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        if self._channel.outgoing[0] != self._answered:
            self._drop_answer(messages.CALL_NAMES[kind])
        self._during = messages.CALL_NAMES[kind]

    def send_call(self, kind: int, arguments: Packed, read: Callable[[Frame], Any]) -> None:
        """Send the call, and remember the function that reads its answer. Blocks and raises as ``call``.

        ``read`` must not keep the env alive: the env's finalizer holds this object, so the env would never be closed.
        """
        if arguments.size_bytes > self.bound_bytes:
            raise error_mapping.too_large(arguments, self.bound_bytes)
        channel, deadline = self._channel, self._deadline
        call_id = channel.outgoing[0] + 1 & 0xFFFFFFFF
        self._calls[0] = call_id
        self._arguments, self._read = arguments, read
        try:
            channel.send_frame(kind, call_id, arguments.head, arguments.buffers, deadline, arguments.offers)
        except ChannelTimeout:
            self._go_on_late(channel.flush)

    def read_answer(self, read: Callable[[Frame], T], tell: Callable[[T], None] | None = None) -> T:
        """Read the answer to the call that was sent last. Blocks and raises as ``call``."""
        channel = self._channel
        try:
            frame = channel.await_frame(self._deadline)
        except ChannelTimeout:
            frame = self._go_on_late(channel.await_frame)
        frame.arrays = self.arrays
        call_id = channel.outgoing[0]
        is_result = frame.kind == messages.STEPPED and frame.call_id == call_id
        result = read(frame) if is_result else self._answer(read, frame, call_id)
        if self._is_forked:
            self.refuse()  # the arrays of the result are the parent's
        if tell is not None:
            tell(result)
        self._answered = call_id
        self._arguments, self._read = None, read_nothing
        channel.decoder.take()
        return result

    def explained(self, error: BaseException) -> BaseException:
        """The error for the user. An error of the wire closes the connection; any other error is returned unchanged.

        Blocks for a few seconds at most, to find out why a server has died or does not answer.
        """
        if self._is_forked:  # the fork has closed this copy of the stream, and the server is the parent's
            return error_mapping.in_child(error, self._process_id)
        if not isinstance(error, WIRE_ERRORS):
            return error
        if self._closed_by:
            return ClosedError(f"during {self._during} the env was closed by another thread")
        # This comes first: an interrupt may come while the reason is determined.
        self._fail(f"{type(error).__name__} during {self._during}")
        mapped: GymServiceError
        if isinstance(error, ChannelTimeout):
            stop = self._channel.end_sending
            mapped = error_mapping.timed_out(self._during, self._timeout_s, self._peer, stop, self._interrupted)
        elif isinstance(error, ChannelClosed):
            self._channel.close()  # otherwise a server that closed only its end and this process wait for each other
            mapped = self._peer.died(self._during)
        else:
            mapped = error_mapping.broken_rule(self._during, error)
        self._fail(f"{type(mapped).__name__}: " + str(mapped).partition("\n")[0])
        self._end()
        return mapped

    # -- before the first call -------------------------------------------------------------------------------------

    @property
    def arena(self) -> Arena | None:
        """The shared memory with the server; None if there is none."""
        return self._channel.arena

    def share(self, arena: Arena | None) -> None:
        """Share memory from now on; before the first call."""
        self._channel.share(arena)

    @property
    def encodes_images(self) -> bool:
        """Whether calls say how answers are to be encoded."""
        return self._channel.image_codec is not None

    def use_image_codec(self, decoder: ImageDecoder) -> None:
        """Decode the images that the server has been told to encode, from now on."""
        self._channel.use_image_codec(decoder)

    def allow_replies_of(self, bound_bytes: int) -> None:
        """Raise the bound on answers, when the size of an observation is known."""
        self._channel.decoder.bound_bytes = bound_bytes

    def warn(self, text: str) -> None:
        """Issue a warning that points at the code that made the call; nothing for an empty text."""
        error_mapping.warn([("UserWarning", text)] if text else [])

    # -- the end ---------------------------------------------------------------------------------------------------

    def _send_close(self, deadline: float) -> None:
        """Ask the server to close, unless an interrupted call has to be finished first."""
        channel = self._channel
        if channel.is_in_step and not self._close_id and channel.outgoing[0] == self._answered:
            self._close_id = channel.outgoing[0] + 1 & 0xFFFFFFFF
            try:
                channel.send_frame(messages.CLOSE, self._close_id, b"", deadline=deadline)
            except WIRE_ERRORS:
                pass  # _await_close gets the same error again

    def _await_close(self, deadline: float) -> None:
        """Read the answer to CLOSE, and send CLOSE first if necessary. After an interrupt it continues."""
        channel, self._deadline, self._timeout_s = self._channel, deadline, 0.0
        try:
            if not channel.is_in_step:
                return
            if channel.outgoing[0] != self._answered and channel.outgoing[0] != self._close_id:
                self._drop_answer("close")
            if not self._close_id or channel.outgoing[0] != self._close_id:
                self._close_id = channel.outgoing[0] + 1 & 0xFFFFFFFF
                channel.send_frame(messages.CLOSE, self._close_id, b"", deadline=deadline)
            elif self._answered != self._close_id:
                channel.flush(deadline)
            if self._answered != self._close_id:
                self.read_answer(read_nothing)
        except WIRE_ERRORS:
            pass  # the connection is closed in any case; the peer makes sure that the server ends
        except EnvError as error:
            self._warned.append(("UserWarning", f"the simulator's close() raised {error}"))

    def refuse(self) -> None:
        """Raise the error of a call on a connection that cannot be used."""
        if self._is_forked:
            raise error_mapping.forked(self._process_id)
        if self._closed_by:
            raise ClosedError(f"the env is closed: {self._closed_by}")

    # -- answers ---------------------------------------------------------------------------------------------------

    def _answer(self, read: Callable[[Frame], T], frame: Frame, call_id: int) -> T:
        """The result, from this frame or from a later one."""
        parts: list[Any] = []
        while True:
            if frame.call_id != call_id:
                # A frame that an interrupt left in the decoder, already read but not taken, is dropped by its id.
                if frame.call_id != self._answered:
                    raise BadFrame(f"an answer to call {frame.call_id} came where call {call_id} was asked")
            elif frame.kind in _RESULTS or (read is drop_groups and frame.kind == messages.LAST_GROUP):
                result = read(frame)
                return parts + error_mapping.expect_type(list, result) if parts else result  # type: ignore[return-value]
            elif frame.kind == messages.WARNING:
                self._note_warning(frame)
            elif read is drop_groups and frame.kind == messages.GROUP:
                pass  # no caller needs them any more
            elif frame.kind == messages.CHANGED:
                self.on_changed(error_mapping.expect_type(dict, one(frame)), call_id)
                self.changes += 1
            elif frame.kind == messages.PART:
                parts += error_mapping.expect_type(list, one(frame))
            elif frame.kind == messages.ERROR:
                raise self._end_with_error(frame)
            else:
                raise BadFrame(f"an answer of unknown kind {frame.kind}")
            frame = self._next_frame()
            frame.arrays = self.arrays

    def _note_warning(self, frame: Frame) -> None:
        category, text = fields(frame, 2)
        self._warned.append((error_mapping.expect_type(str, category), error_mapping.expect_type(str, text)))

    def _next_frame(self) -> Frame:
        self._channel.decoder.take()
        if self._deadline is not None and time.monotonic() > self._deadline + self._timeout_s:
            raise ChannelTimeout("the other side sends without end")
        try:
            return self._channel.await_frame(self._deadline)
        except ChannelTimeout:
            return self._go_on_late(self._channel.await_frame)

    def _end_with_error(self, frame: Frame) -> GymServiceError:
        error = error_mapping.remote_error(*fields(frame, 5))
        self._answered = frame.call_id
        self._arguments, self._read = None, read_nothing
        self._channel.decoder.take()
        return error

    def _drop_answer(self, during: str) -> None:
        """Finish a call whose caller was interrupted, within the time of the present call: see the module."""
        channel = self._channel
        if not channel.is_in_step:
            self._fail_in_doubt()
            self.refuse()
        self._interrupted, self._during = self._interrupted or self._during, during
        try:
            channel.flush(self._deadline)
        except ChannelTimeout:
            self._go_on_late(channel.flush)
        try:
            self.read_answer(self._read)
        except (EnvError, CannotCross):
            if self._answered != channel.outgoing[0]:
                raise  # the reader of the answer raised it
            # It is the answer itself, which no caller needs.
        self._interrupted = ""

    def _go_on_late(self, act: Callable[[float], T]) -> T:
        """Go on after the deadline, for as long again, while bytes are sent or received.

        This process may have been stopped (Ctrl-Z) while the server answered in time. Raises ChannelTimeout if no byte
        arrives and no frame is partly read or sent.
        """
        end = time.monotonic() + self._timeout_s
        gap_s = FIRST_LATE_GAP_S if self._channel.is_in_a_frame else 0.0
        while True:
            mark = self._channel.mark()
            try:
                return act(min(end, time.monotonic() + gap_s))
            except ChannelTimeout:
                if not self._channel.moved_since(mark):
                    raise
            gap_s = LATE_GAP_S

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._closed_by = reason

    def _fail_in_doubt(self) -> None:
        """Close: after an interrupt the number of bytes sent or read is unknown."""
        self._fail(
            f"an interrupt came in the middle of {self._during}, and how much of it was sent or read is not known"
            '\n  try: restart = "on-reset" in its entry, with which reset() starts another server then'
        )
        self._end()

    def _end(self) -> None:
        """Close for good after a failure. May be called repeatedly. Nothing to do in a forked child."""
        self._forget_call()
        if not self._has_ended and not self._is_forked:
            self._channel.close()
            for _ in self._peer.close_in_steps(0.0):
                pass
            self._stop_counting()
            self._has_ended = True

    def _forget_call(self) -> None:
        """Release what a call holds if its answer will never come."""
        self._arguments, self._read = None, read_nothing

    def _stop_counting(self) -> None:
        # The memory of the call counter belongs to a file, whose descriptor stays open while the memory is in use.
        self._calls = memoryview(bytearray(8)).cast("Q")


def _unasked(facts: dict[str, Any], call_id: int) -> None:
    raise BadValue("facts of an env came where none is")


def read_nothing(frame: Frame) -> list[Any]:
    """Reads nothing of an answer that is dropped. Returns a list, since an answer may consist of parts."""
    return []


def drop_groups(frame: Frame) -> Any:
    """As ``read_nothing``, for an answer that may consist of groups (``early_answers.py``)."""
    return []


def fields(frame: Frame, count: int) -> list[Any]:
    """The fields of a reply. Raises BadValue unless there are exactly ``count``."""
    decoder = ValueDecoder(frame.head, frame.buffers, GraphInstance, arrays=frame.arrays)
    values = [decoder.read() for _ in range(count)]
    decoder.expect_end()
    return values


def one(frame: Frame) -> Any:
    """The only field of a reply."""
    return fields(frame, 1)[0]
