"""Channels over real sockets and pipes: partial writes, deadlines in both directions, ends, closing, signals."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from support import procfs

from gym_service.protocol.frames import BadFrame, frame_bytes
from gym_service.transport.channel import Channel, over_pipes, over_socket
from gym_service.transport.streams import ChannelClosed, ChannelTimeout

# A wait takes this long only if something is broken.
LONG_S = 30.0
SHORT_S = 0.2
Pair = tuple[Channel, Channel]


def sockets() -> Pair:
    left, right = socket.socketpair()
    return over_socket(left), over_socket(right)


def pipes() -> Pair:
    """As the launcher makes them: the client's ends do not block, the server's ends do."""
    read_left, write_right = os.pipe()
    read_right, write_left = os.pipe()
    for fd in (read_left, write_left):
        os.set_blocking(fd, False)
    return over_pipes(read_left, write_left), over_pipes(read_right, write_right)


@pytest.fixture(params=[sockets, pipes], ids=["sockets", "pipes"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    left, right = request.param()
    yield left, right
    left.close()
    right.close()


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run work in a thread, which must end without an error."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails with it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(LONG_S)
    assert not thread.is_alive()
    assert not errors, errors


def deadline(seconds: float) -> float:
    return time.monotonic() + seconds


def test_frames_go_both_ways(pair: Pair) -> None:
    left, right = pair
    for sender, receiver in ((left, right), (right, left)):
        for _ in range(3):
            sender.send(frame_bytes(1, 2, b"head"), deadline(LONG_S))
        for _ in range(3):
            frame = receiver.receive(deadline(LONG_S))
            assert (frame.kind, frame.call_id, bytes(frame.head), frame.buffers) == (1, 2, b"head", [])


@pytest.mark.parametrize("turn", [1, -1], ids=["to the right", "to the left"])
def test_many_large_pieces_arrive_whole(pair: Pair, turn: int) -> None:
    sender, receiver = pair[::turn]
    pieces = [
        np.full(12288 + index % 3, index % 251, np.uint8) for index in range(3000)
    ]  # more than one write may take
    pieces.append(np.arange(5 * 2**20, dtype=np.uint32).view(np.uint8))
    with beside(lambda: sender.send(frame_bytes(1, 1, b"", pieces), deadline(LONG_S))):
        frame = receiver.receive(deadline(LONG_S))
    assert len(frame.buffers) == len(pieces)
    assert all(np.array_equal(*both) for both in zip(frame.buffers, pieces, strict=True))


def test_reading_ends_at_its_deadline(pair: Pair) -> None:
    for channel in pair:
        begin = time.monotonic()
        with pytest.raises(ChannelTimeout):
            channel.receive(begin + SHORT_S)
        assert SHORT_S <= time.monotonic() - begin < SHORT_S + 1


def test_a_deadline_that_has_passed_is_a_timeout_at_once(pair: Pair) -> None:
    with pytest.raises(ChannelTimeout):
        pair[0].receive(deadline(-1))


def test_sending_to_a_peer_that_does_not_read_ends_at_its_deadline(pair: Pair) -> None:
    begin = time.monotonic()
    with pytest.raises(ChannelTimeout):
        pair[0].send(frame_bytes(1, 1, b"", [np.zeros(2**24, np.uint8)]), begin + SHORT_S)
    assert SHORT_S <= time.monotonic() - begin < SHORT_S + 1


def test_a_peer_that_sends_without_end_does_not_extend_a_deadline(pair: Pair) -> None:
    left, right = pair
    stop = threading.Event()

    def trickle() -> None:
        right.send([frame_bytes(1, 1, b"", [bytes(2**25)])[0]], deadline(LONG_S))
        while not stop.is_set():
            right.send([bytes(1)], deadline(LONG_S))
            stop.wait(0.001)

    begin = time.monotonic()
    with beside(trickle):
        with pytest.raises(ChannelTimeout):
            left.receive(begin + SHORT_S)
        stop.set()
    assert SHORT_S <= time.monotonic() - begin < SHORT_S + 1


@pytest.mark.parametrize("seconds", [1e7, 1e12])
def test_a_deadline_beyond_the_kernels_counting_is_no_error(pair: Pair, seconds: float) -> None:
    left, right = pair
    right.send(frame_bytes(1, 1, b"x"), deadline(seconds))
    assert bytes(left.receive(deadline(seconds)).head) == b"x"


def test_the_end_between_frames_is_clean_and_within_one_is_not(pair: Pair) -> None:
    left, right = pair
    whole = frame_bytes(1, 1, b"abc")[0]
    right.send([whole + whole[:-1]], deadline(LONG_S))
    right.close()
    assert bytes(left.receive(deadline(LONG_S)).head) == b"abc"
    with pytest.raises(ChannelClosed) as end:
        left.receive(deadline(LONG_S))
    assert not end.value.clean


@pytest.mark.parametrize("frames", [0, 2])
def test_frames_before_the_end_are_still_read(pair: Pair, frames: int) -> None:
    left, right = pair
    right.send(frame_bytes(1, 1, b"abc") * frames, deadline(LONG_S))
    right.close()
    for _ in range(frames):
        left.receive(deadline(LONG_S))
    with pytest.raises(ChannelClosed) as end:
        left.receive(deadline(LONG_S))
    assert end.value.clean


@pytest.mark.parametrize("size", [0, 1, 16, 23, 24, 25, 30, 4000])
def test_the_end_within_a_heavy_frame_is_never_clean(pair: Pair, size: int) -> None:
    left, right = pair
    data = b"".join(frame_bytes(1, 1, b"abc", [bytes(12288)]))
    right.send([data[:size]], deadline(LONG_S))
    right.close()
    with pytest.raises(ChannelClosed) as end:
        left.receive(deadline(LONG_S))
    assert end.value.clean == (size == 0)


def test_writing_to_a_peer_that_is_gone_is_closed(pair: Pair) -> None:
    left, right = pair
    right.close()
    with pytest.raises(ChannelClosed, match="writing failed"):
        left.send([bytes(2**24)], deadline(LONG_S))


@pytest.mark.parametrize("until", [None, LONG_S], ids=["for ever", "with a deadline"])
@pytest.mark.parametrize("side", [0, 1], ids=["left", "right"])
def test_close_from_another_thread_wakes_a_reader(pair: Pair, side: int, until: float | None) -> None:
    channel = pair[side]
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(ChannelClosed):
            channel.receive(None if until is None else deadline(until))
        ended.set()

    with beside(read) as thread:
        until_it_waits(thread)
        channel.close()
        assert ended.wait(5)


def test_close_from_another_thread_wakes_a_writer(pair: Pair) -> None:
    channel = pair[0]
    ended = threading.Event()

    def write() -> None:
        with pytest.raises(ChannelClosed):
            channel.send([bytes(2**24)], deadline(LONG_S))
        ended.set()

    with beside(write) as thread:
        until_it_waits(thread)
        channel.close()
        assert ended.wait(5)


# The system call in which a thread waits for the GIL, rather than for a peer.
FUTEX = {"x86_64": "202"}.get(os.uname().machine, "98")


def until_it_waits(thread: threading.Thread) -> None:
    """Wait until the thread is in one of the channel's system calls."""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        if procfs.system_call(thread.native_id or 0) not in ("running", FUTEX):
            return
        os.sched_yield()
    raise AssertionError("the thread never waited")


def test_close_is_for_any_number_of_times_and_then_nothing_can_be_done(pair: Pair) -> None:
    for channel in pair:
        channel.close()
        channel.close()
        for until in (None, deadline(LONG_S)):
            with pytest.raises(ChannelClosed):
                channel.receive(until)
            with pytest.raises(ChannelClosed):
                channel.send([b"x"], until)


def test_closing_reaches_copies_of_a_socket() -> None:
    """A fork of the simulator may hold a copy."""
    left, right = sockets()
    copy = os.dup(right._stream._socket.fileno())
    try:
        right.close()
        with pytest.raises(ChannelClosed):
            left.receive(deadline(LONG_S))
    finally:
        os.close(copy)
        left.close()


def test_a_frame_that_is_begun_is_sent_by_flush(pair: Pair) -> None:
    left, right = pair
    piece = bytes(frame_bytes(1, 7, bytes(1000))[0])
    received, sent = 0, 0
    while left.begin(7, piece):  # until the kernel takes no more, and for pipes not even once
        sent += 1
    assert left.outgoing[0] == 7
    with beside(lambda: left.flush(deadline(LONG_S))):
        while received <= sent:
            assert bytes(right.receive(deadline(LONG_S)).head) == bytes(1000)
            received += 1
    assert not left.is_in_a_frame


def test_flush_says_what_ended_a_frame_that_is_begun(pair: Pair) -> None:
    left, right = pair
    right.close()
    piece = bytes(frame_bytes(1, 1, b"")[0])
    while left.begin(1, piece):
        pass
    with pytest.raises(ChannelClosed):
        left.flush(deadline(LONG_S))
    left.close()
    assert not left.begin(2, piece)
    with pytest.raises(ChannelClosed):
        left.flush(deadline(LONG_S))


def test_an_os_error_of_a_handler_ends_a_begin() -> None:
    class Handled(OSError):
        pass

    def interrupted(
        piece: bytes, flags: int
    ) -> int:  # a handler's exception comes out of the C function that it interrupts
        raise Handled

    left, right = sockets()
    left._stream.send_one = interrupted
    with pytest.raises(Handled):
        left.begin(1, bytes(frame_bytes(1, 1, b"")[0]))
    left.close()
    right.close()


@contextmanager
def signals_every_ms() -> Iterator[list[int]]:
    """SIGALRM with a handler in Python, repeatedly: each one interrupts the thread's wait."""
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_signals_do_not_extend_a_deadline(pair: Pair) -> None:
    for act in (
        lambda until: pair[0].receive(until),
        lambda until: pair[0].send([bytes(2**24)], until),
    ):
        with signals_every_ms() as seen:
            begin = time.monotonic()
            with pytest.raises(ChannelTimeout):
                act(begin + SHORT_S)
            took = time.monotonic() - begin
        assert SHORT_S <= took < SHORT_S + 0.5
        assert len(seen) > 10


def test_signals_do_not_break_frames(pair: Pair) -> None:
    left, right = pair
    sent = np.arange(2**22, dtype=np.uint32).view(np.uint8)
    with signals_every_ms() as seen, beside(lambda: right.send(frame_bytes(1, 1, b"", [sent] * 3), deadline(LONG_S))):
        frame = left.receive(deadline(LONG_S))
    assert all(np.array_equal(buffer, sent) for buffer in frame.buffers)
    assert seen


def test_a_handler_that_raises_is_heard(pair: Pair) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            pair[0].receive(deadline(LONG_S))
    finally:
        signal.signal(signal.SIGALRM, before)


def test_what_is_no_frame_is_refused_as_soon_as_it_is_read(pair: Pair) -> None:
    left, right = pair
    right.send([b"H"], deadline(LONG_S))
    with pytest.raises(BadFrame):
        left.receive(deadline(LONG_S))
