"""One call, one reply, one deadline: the client's end of the wire, and the one gate for its errors.

Knows messages, ids, deadlines, and when a failure is the end. Never knows how a server was started, nor in what words
its end is told (``error_mapping.py``). Python 3.10 and up.
"""

import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError
from gymnasium.spaces import GraphInstance

from gym_service.client import error_mapping
from gym_service.client.error_mapping import Peer
from gym_service.errors import CannotCross, ClosedError, EnvError, ForkedError, GymServiceError
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


class Connection:
    """A channel with a server at its other end. One call at a time: a second thread's call waits for the first."""

    def __init__(self, channel: Channel, peer: Peer) -> None:
        self.bound_bytes = BOUND_BYTES
        self.on_changed: Callable[[dict[str, Any]], None] = _unasked  # is told the facts of the env that have changed
        self._channel = channel
        _channels.add(channel)
        self._peer = peer
        # An RLock knows its owner from the moment it is taken, whatever interrupts the next line.
        self._turn = threading.RLock()
        self._owned: Callable[[], bool] = self._turn._is_owned  # type: ignore[attr-defined]
        self._pending = False  # whether a call of the owner's is under way
        self._during, self._timeout_s = "", math.inf  # of the call under way
        self._deadline: float | None = None
        self._warned: list[tuple[str, str]] = []
        self._process_id = os.getpid()
        self._is_forked = False  # whether this is a copy, in a forked child
        _connections.add(self)
        self._call_id = 0
        self._calls = peer.calls
        self._closed_by = ""  # empty while it is open
        self.failure = ""  # what closed it, where that was no close()

    def call(
        self,
        kind: int,
        arguments: Packed,
        timeout_s: float,
        read: Callable[[Frame], T],
        tell: Callable[[T], None] | None = None,
    ) -> T:
        """Make one call and read its reply.

        Blocks until the reply is there, at most ``timeout_s`` seconds (``math.inf``: no limit), besides waiting for
        another thread's call.

        Args:
            kind: one of the calls in ``messages``.
            arguments: its fields.
            timeout_s: for sending and the reply together.
            read: makes the result of the reply, while its bytes are still there.
            tell: is told the result before any other thread's call can begin. It must not raise.

        Raises:
            EnvError: the simulator raised. The connection stays usable, as after CannotCross.
            CannotCross: something in the call or in the result has no form on the wire.
            CallTimeout, ServerCrashed, ConnectionLost, ProtocolError, VersionMismatch: the connection is closed now.
            ClosedError, ForkedError: it cannot be used.
        """
        try:
            self.begin(kind, arguments, timeout_s)
            return self.finish(read, tell)
        except BaseException as error:
            self.abandon(error)
            raise

    def abandon(self, error: BaseException) -> None:
        """Leave nothing half done where a Ctrl-C has come between two lines: the caller of both halves calls this.

        An Exception has been seen to already.
        """
        if not isinstance(error, Exception) and self._owned():
            if self._pending:
                self._fail(error)
            self._release()

    def begin(self, kind: int, arguments: Packed, timeout_s: float) -> None:
        """The first half of ``call``: send it. Until ``finish`` has read its answer, other threads' calls wait.

        Blocks and raises as ``call``, and AlreadyPendingCallError where this thread has begun one already.
        """
        self._acquire(messages.CALL_NAMES[kind], timeout_s)
        try:
            if arguments.size_bytes > self.bound_bytes:
                raise error_mapping.too_large(arguments, self.bound_bytes)
            self._call_id = call_id = (self._call_id + 1) & 0xFFFFFFFF
            self._calls[0] = call_id
            self._channel.send_frame(kind, call_id, arguments.head, arguments.buffers, self._deadline, arguments.offers)
        except BaseException as error:
            self._end_with(error)
            raise

    def finish(self, read: Callable[[Frame], T], tell: Callable[[T], None] | None = None) -> T:
        """The second half of ``call``: read the answer to what ``begin`` has sent.

        Blocks and raises as ``call``, and NoAsyncCallError where nothing has begun.
        """
        if not (self._pending and self._owned()):
            raise NoAsyncCallError("nothing has begun whose answer could be waited for", "step_wait")
        try:
            frame = self._channel.receive(self._deadline)
            at_once = frame.kind == messages.STEPPED and frame.call_id == self._call_id
            result = read(frame) if at_once else self._answer(read, frame)
            if tell is not None:
                tell(result)
        except BaseException as error:
            self._end_with(error)
            raise
        self._release()
        return result

    def send_ahead(self, bundle: bytes, timeout_s: float) -> None:
        """Send what the other side begins with, before it speaks in frames. Blocks and raises as ``call``.

        Where it has ended already, nothing is raised: ``skip_to`` reads what it said of that.
        """
        self._acquire("make", timeout_s)
        try:
            self._channel.send([bundle], self._deadline)
        except ChannelClosed:
            pass
        except BaseException as error:
            self._end_with(error)
            raise
        self._release()

    def skip_to(self, mark: bytes, timeout_s: float, noise: bytearray | None = None) -> None:
        """Read past what a shell or a container says before the server begins, with its mark, into ``noise``.

        Raises as ``call``.
        """
        self._acquire("make", timeout_s)
        try:
            self._channel.skip_to(mark, self._deadline, noise)
        except BaseException as error:
            self._end_with(error)
            raise
        self._release()

    @property
    def arena(self) -> Arena | None:
        """Where memory is shared with the server; None where it is not."""
        return self._channel.arena

    def share(self, arena: Arena | None) -> None:
        """Share memory from here on, before the first call."""
        self._channel.share(arena)

    def use_image_codec(self, decoder: ImageDecoder) -> None:
        """Restore from here on what the server codes, which it has been told to do."""
        self._channel.use_image_codec(decoder)

    def allow_replies_of(self, bound_bytes: int) -> None:
        """Raise the bound on replies, once it is known how large an observation is."""
        self._channel.decoder.bound_bytes = bound_bytes

    def warn(self, text: str) -> None:
        """Warn of something at the code that made the call; of nothing where the text is empty."""
        error_mapping.warn([("UserWarning", text)] if text else [])

    def close(self, ask_s: float, reason: str = "it was closed with close()") -> None:
        """Ask the server to end, then see to it that it does. Any number of times, from any thread; waits for no call.

        Blocks for at most ``ask_s`` seconds and the moment it takes to stop a server by force. In a forked child of
        the process that made the connection it does nothing: the server is not the child's.
        """
        if self._is_forked:
            return
        deadline = time.monotonic() + ask_s
        if self._closed_by or self._pending or not self._turn.acquire(blocking=False):
            deadline = 0.0  # nobody can be asked: it has failed, or a call is under way
        else:
            self._deadline = deadline
            self._ask_to_close()
            self._turn.release()
        self._closed_by = self._closed_by or reason
        self._channel.close()
        self._close_peer(max(0.0, deadline - time.monotonic()))
        error_mapping.warn(self._warned)

    def _acquire(self, during: str, timeout_s: float) -> None:
        if self._is_forked:
            raise ForkedError(
                f"this env was made in process {self._process_id} and is used in its forked child {os.getpid()}: "
                "they would read each other's answers.\n  try: make an env in the child"
            )
        if not self._owned():
            self._turn.acquire()
        elif self._pending and not self._closed_by:  # else it is the turn of a call that a Ctrl-C kept from beginning
            text = f"{during} was called while {self._during} waits for its answer"
            raise AlreadyPendingCallError(text, self._during)
        if self._closed_by:
            self._release()
            raise ClosedError(f"the env is closed: {self._closed_by}")
        self._during, self._timeout_s = during, timeout_s
        self._deadline = None if timeout_s == math.inf else time.monotonic() + timeout_s
        self._pending = True

    def _release(self) -> None:
        self._pending = False
        self._turn.release()
        if self._warned:
            error_mapping.warn(self._warned)

    def _answer(self, read: Callable[[Frame], T], frame: Frame) -> T:
        """The result, which is in this frame or in one that comes after."""
        parts: list[Any] = []
        while True:
            if frame.call_id != self._call_id:
                raise BadFrame(f"an answer to call {frame.call_id} came where call {self._call_id} was asked")
            if frame.kind in _RESULTS:
                result = read(frame)
                return parts + error_mapping.expect_type(list, result) if parts else result  # type: ignore[return-value]
            if frame.kind == messages.WARNING:
                category, text = fields(frame, 2)
                self._warned.append((error_mapping.expect_type(str, category), error_mapping.expect_type(str, text)))
            elif frame.kind == messages.CHANGED:
                self.on_changed(error_mapping.expect_type(dict, one(frame)))
            elif frame.kind == messages.PART:
                parts += error_mapping.expect_type(list, one(frame))
            elif frame.kind == messages.ERROR:
                raise error_mapping.remote_error(*fields(frame, 5))
            else:
                raise BadFrame(f"an answer of unknown kind {frame.kind}")
            frame = self._channel.receive(self._deadline)

    def _ask_to_close(self) -> None:
        try:
            self._call_id = (self._call_id + 1) & 0xFFFFFFFF
            self._channel.send_frame(messages.CLOSE, self._call_id, b"", deadline=self._deadline)
            self._answer(lambda frame: None, self._channel.receive(self._deadline))
        except (ChannelClosed, ChannelTimeout, BadFrame, BadValue):
            pass  # it is being closed anyhow; whether the server ends is the peer's to see to
        except EnvError as error:
            self._warned.append(("UserWarning", f"the simulator's close() raised {error}"))

    def _end_with(self, error: BaseException) -> None:
        """The gate: an error of the wire is raised as one that users know; any other returns. The turn ends with it."""
        try:
            mapped = self._map_error(error)
        finally:
            self._release()
        if mapped is not error:
            raise mapped from error

    def _map_error(self, error: BaseException) -> BaseException:
        """What an error of the wire means to a user. Most of them close the connection for good."""
        if isinstance(error, (EnvError, CannotCross)):
            return error
        mapped = error
        if isinstance(error, ChannelTimeout):
            mapped = error_mapping.timed_out(self._during, self._timeout_s, self._peer, self._channel.end_sending)
        elif isinstance(error, ChannelClosed):
            mapped = self._channel_closed()
        elif isinstance(error, (BadFrame, BadValue)):
            mapped = error_mapping.broken_rule(self._during, error)
        # Anything else too: after a Ctrl-C in the middle of a frame the next call would read the rest of this one's.
        self._fail(mapped)
        return mapped

    def _fail(self, error: BaseException) -> None:
        """Close for good: whatever the stream still holds is nobody's answer any more."""
        reason = str(error).partition("\n")[0] or f"it came in the middle of {self._during}"
        self.failure = f"{type(error).__name__}: {reason}"
        self._closed_by = self._closed_by or self.failure
        self._channel.close()
        self._close_peer(0.0)

    def _close_peer(self, ask_s: float) -> None:
        self._peer.close(ask_s)
        # The memory where the calls were counted is a file's, and holds a descriptor for as long as it is looked at.
        self._calls = memoryview(bytearray(8)).cast("Q")

    def _channel_closed(self) -> GymServiceError:
        if self._closed_by:
            return ClosedError(f"during {self._during} the env was closed by another thread")
        self._channel.close()  # else a server that only closed its end would wait for us while we wait for its death
        return self._peer.died(self._during)


def _unasked(facts: dict[str, Any]) -> None:
    raise BadValue("facts of an env came where none is")


def fields(frame: Frame, count: int) -> list[Any]:
    """The fields of a reply, which must be just so many. Raises BadValue."""
    decoder = ValueDecoder(frame.head, frame.buffers, GraphInstance)
    values = [decoder.read() for _ in range(count)]
    decoder.expect_end()
    return values


def one(frame: Frame) -> Any:
    """The only field of a reply."""
    return fields(frame, 1)[0]


# Told of every fork: asking for the pid with each call costs more than looking at a flag.
_connections: weakref.WeakSet[Connection] = weakref.WeakSet()
_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _detach_all() -> None:
    """A forked child has copies of what is its parent's: closed there they are nobody's to warn of, nor to use."""
    for connection in list(_connections):
        connection._is_forked = True
    for channel in list(_channels):
        channel.close_copy()


os.register_at_fork(after_in_child=_detach_all)
