"""``output = "show"``: a simulator's output on the user's stderr, which may be full, stopped or slow."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gym_service_launcher.processes.output import OutputTail
from support.clock import Clock
from support.faulty import act, armed

LINES = 40_000
TIMEOUT_S = 60.0


@contextmanager
def stderr_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in place of this process's stderr; yields its reading end."""
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield reader


@pytest.mark.slow
def test_a_simulator_that_prints_much_is_answered_although_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    with stderr_pipe(monkeypatch), armed("step", "much output", output="show") as env:
        env.reset()
        assert act(env, "step", 7)[0]["answers"].tolist() == [1, 7, -49]
        clock = Clock()
        env.close()
        assert clock.took_s < TIMEOUT_S / 4


def test_a_reader_that_is_slow_gets_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times what the queue holds, in UTF-8 that the chunks split at any byte."""
    expected = "".join(f"{number} \N{GREEK SMALL LETTER ALPHA}\n" * 5 for number in range(LINES))
    read_fd, write_fd = os.pipe()
    with stderr_pipe(monkeypatch) as reader:
        output = OutputTail([read_fd], show=True)

        def print_all() -> None:
            with open(write_fd, "wb") as printed:
                printed.write(expected.encode())

        printing = threading.Thread(target=print_all)
        printing.start()
        shown = b""
        while len(shown) < len(expected.encode()):
            shown += os.read(reader, 4096)
        printing.join(TIMEOUT_S)
        output.join(TIMEOUT_S)
    assert shown.decode() == expected


def test_output_after_the_stream_is_closed_is_still_kept_for_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    read_fd, write_fd = os.pipe()
    with stderr_pipe(monkeypatch):
        output = OutputTail([read_fd], show=True)
    with contextlib.closing(os.fdopen(write_fd, "wb")) as printed:
        printed.write(b"last words\n")
    output.join(TIMEOUT_S)
    assert output.tail() == "last words\n"


def test_nothing_is_written_to_the_next_file_of_that_number(monkeypatch: pytest.MonkeyPatch) -> None:
    output, child = os.pipe()
    with stderr_pipe(monkeypatch):
        tail = OutputTail([output], show=True)
        number = sys.stderr.fileno()
        sys.stderr.close()
        reader, writer = os.pipe()
        assert number in (reader, writer)  # the lowest free number
        os.write(child, b"a line\n")
        os.close(child)
        tail.join(TIMEOUT_S)
        os.close(writer)
        with open(reader, "rb") as file:
            assert file.read() == b""
