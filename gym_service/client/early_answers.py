"""Calls whose answers are read without blocking, and frame by frame if an answer consists of several.

Knows frames, ids and deadlines, as ``exchange.py`` does. Never knows envs. Python 3.10 and up. An answer that is one
small frame can be read where it has arrived, without a Frame: ``poll_small`` reads it, ``take_small`` takes it.

After an interrupt it continues: a frame that was noted but not taken is noted again, and ``note`` must recognise it. So
no part of an answer is lost or counted twice.
"""

import math
import select
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from gym_service.client.exchange import Exchange, drop_groups, read_nothing
from gym_service.protocol import messages
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import HEADER, MAGIC, SCRATCH_BYTES, VERSION, BadFrame, Frame
from gym_service.transport.streams import ChannelTimeout

T = TypeVar("T")

_NOTED = {messages.GROUP, messages.LAST_GROUP, messages.RESULT, messages.STEPPED, messages.PLACED, messages.ERROR}


class EarlyAnswers(Exchange):
    """An exchange in which a call can be in progress while its caller does something else."""

    @property
    def is_idle(self) -> bool:
        """Whether the call that was sent last is answered."""
        return self._channel.outgoing[0] == self._answered

    @property
    def next_id(self) -> int:
        """The id of the next call."""
        return self._channel.outgoing[0] + 1 & 0xFFFFFFFF

    @property
    def deadline(self) -> float | None:
        """When the call in progress must be answered, on ``time.monotonic()``; None for no limit."""
        return self._deadline

    def begin_early(self, kind: int, arguments: Packed, timeout_s: float) -> None:
        """Send a call whose answer ``read_early`` reads. The last one must be answered. Blocks and raises as ``call``.

        If no caller needs the answer any more, the next call, or ``close``, drops it.
        """
        channel, head = self._channel, arguments.head
        last_id = channel.outgoing[0]
        call_id = last_id + 1 & 0xFFFFFFFF
        is_usual = last_id == self._answered and not (self._closed_by or self._is_forked)
        if not is_usual or arguments.buffers or len(head) > SCRATCH_BYTES or channel.has_notices(call_id):
            self.open_call(kind, timeout_s)
            self.send_call(kind, arguments, drop_groups)
            return
        # The same without intermediate objects.
        self._timeout_s, self._during = timeout_s, messages.CALL_NAMES[kind]
        self._deadline = None if timeout_s == math.inf else time.monotonic() + timeout_s
        self._calls[0] = call_id
        self._arguments, self._read = arguments, drop_groups
        if not channel.begin(call_id, HEADER.pack(MAGIC, VERSION, kind, call_id, len(head), 0) + head):
            try:
                channel.flush(self._deadline)
            except ChannelTimeout:
                self._go_on_late(channel.flush)

    def resume(self) -> None:
        """Send the rest of the call in progress after an interrupt. Blocks and raises as ``call``."""
        if not self._channel.is_in_step:
            self._fail_in_doubt()
            self.refuse()
        try:
            self._channel.flush(self._deadline)
        except ChannelTimeout:
            self._go_on_late(self._channel.flush)

    def read_early(self, note: Callable[[Frame], None]) -> None:
        """Pass each arrived frame of the answer to ``note``. Does not block. Raises as ``call``, but no EnvError."""
        channel, call_id = self._channel, self.last_id
        while (frame := channel.poll_frame()) is not None:
            frame.arrays = self.arrays
            if frame.call_id == self._answered:
                pass  # an interrupt came after this frame was read and before it was taken
            elif frame.call_id != call_id:
                raise BadFrame(f"an answer to call {frame.call_id} came where call {call_id} was asked")
            elif frame.kind == messages.WARNING:
                self._note_warning(frame)
            elif frame.kind in _NOTED:
                note(frame)
                if frame.kind != messages.GROUP:
                    self._answered = call_id
                    self._arguments, self._read = None, read_nothing
            else:
                raise BadFrame(f"an answer of unknown kind {frame.kind}")
            channel.decoder.take()
            if self._answered == call_id:
                return

    def poll_small(self, read: Callable[[int, int], T | None], call_id: int, until: float | None = None) -> T | None:
        """What ``read`` returns for an arrived answer, which stays the next one until ``take_small``.

        None if nothing has arrived, or if ``read_early`` must read it. Blocks until ``until``, and not at all by
        default. Raises ChannelClosed.
        """
        if until is None:
            sizes = self._channel.poll_some()
        else:
            try:
                sizes = self._channel.read_some(until)
            except ChannelTimeout:
                return None
        return read(sizes[0], call_id) if sizes and len(sizes) == 1 else None

    def take_small(self) -> None:
        """Take the answer that ``poll_small`` has read: the call is answered."""
        channel = self._channel
        self._answered = channel.outgoing[0]
        channel.take_some()
        self._arguments, self._read = None, read_nothing

    @property
    def scratch(self) -> memoryview:
        """The memory in which ``poll_small`` finds an answer. It never changes."""
        return self._channel.decoder.scratch

    def wait_late(self) -> None:
        """After the deadline: go on waiting while bytes arrive. Raises ChannelTimeout if none do."""
        self._go_on_late(self._channel.await_frame)

    def register(self, poll: "select.poll") -> Sequence[int]:
        """Let a poll object report data after an empty ``read_early``. Returns the descriptors."""
        return self._channel.register(poll)
