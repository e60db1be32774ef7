"""The bytes on a new stream before the first frame, over sockets and pipes."""

import math
import os
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from gym_service_launcher.servers.stream import Opening, PipeEnds, SocketEnd

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

MARK = b"aabaabaac"  # it repeats its own beginning
NOISE = (b"", b"a", b"aab", b"aabaab", b"aabaabaa", b"Welcome\r\n" * 30, bytes(50_000), b"aabaabaa" * 900)


@pytest.fixture
def pipes() -> Iterator[tuple[PipeEnds, PipeEnds]]:
    """The client's ends and the server's ends, as for a command."""
    to_server, to_client = os.pipe(), os.pipe()
    ours, theirs = PipeEnds(to_client[0], to_server[1]), PipeEnds(to_server[0], to_client[1])
    for fd in (ours.read_fd, ours.write_fd):
        os.set_blocking(fd, False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("noise", NOISE, ids=len)
def test_nothing_is_read_beyond_the_mark(noise: bytes, pipes: tuple[PipeEnds, PipeEnds]) -> None:
    ours, theirs = pipes
    sent = noise + MARK + MARK + b"the first frame"
    writer = threading.Thread(target=lambda: os.write(theirs.write_fd, sent))
    writer.start()
    opening = Opening(MARK)
    assert opening.wait(ours, math.inf)
    writer.join()
    assert ours.read(100, math.inf) == MARK + b"the first frame"
    assert opening.printed == noise.decode()[: len(noise)]
    near, far = socket.socketpair()
    with near, far:
        writer = threading.Thread(target=far.sendall, args=(sent,))
        writer.start()
        opening = Opening(MARK)
        assert opening.wait(SocketEnd(near), math.inf)
        writer.join()
        assert near.recv(100) == MARK + b"the first frame"


def test_of_much_the_beginning_and_the_end_are_kept(pipes: tuple[PipeEnds, PipeEnds]) -> None:
    ours, theirs = pipes
    noise = b"this is wrong" + random.Random(3).randbytes(300_000) + b"the end"

    def write() -> None:
        rest = memoryview(noise + MARK)
        while rest:
            rest = rest[os.write(theirs.write_fd, rest) :]

    writer = threading.Thread(target=write)
    writer.start()
    opening = Opening(MARK)
    assert opening.wait(ours, math.inf)
    writer.join()
    assert opening.printed.startswith("this is wrong")
    assert opening.printed.endswith("the end")
    assert len(opening.printed) < 400_000  # each byte that is not UTF-8 becomes four characters


def test_a_deadline_can_be_tried_again(pipes: tuple[PipeEnds, PipeEnds]) -> None:
    ours, theirs = pipes
    opening = Opening(MARK)
    os.write(theirs.write_fd, MARK[:4])
    assert not opening.wait(ours, time.monotonic() + 0.01)
    os.write(theirs.write_fd, MARK[4:])
    assert opening.wait(ours, time.monotonic() + 10.0)


def test_neither_side_waits_for_the_other(pipes: tuple[PipeEnds, PipeEnds]) -> None:
    """The server prints more than a pipe holds before it reads, and is sent more than a pipe holds."""
    ours, theirs = pipes
    data, received = memoryview(random.Random(3).randbytes(500_000)), bytearray()

    def serve() -> None:
        for _ in range(300):
            os.write(theirs.write_fd, bytes(1000))
        while len(received) < len(data):
            received.extend(os.read(theirs.read_fd, 65536))
        os.write(theirs.write_fd, MARK)

    server = threading.Thread(target=serve)
    server.start()
    opening = Opening(MARK)
    assert not opening.send(ours, data, time.monotonic() + 60.0)
    assert opening.wait(ours, time.monotonic() + 60.0)
    server.join()
    assert received == data


def test_the_end_of_the_stream_is_told_while_sending_too(pipes: tuple[PipeEnds, PipeEnds]) -> None:
    ours, theirs = pipes
    os.write(theirs.write_fd, b"bash: no such file\n")
    theirs.close()
    for attempt in (
        lambda opening: opening.wait(ours, math.inf),
        lambda opening: opening.wait(ours, math.inf) or opening.send(ours, memoryview(bytes(10)), math.inf),
    ):
        opening = Opening(MARK)
        with pytest.raises(EOFError):
            attempt(opening)
