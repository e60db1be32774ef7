"""Mutates conversations for the fuzzer, and detects which of them reach new lines.

Knows the frames of a conversation, and the lines of code that ran. Python 3.10 and up.
"""

import random
import re
import struct
import sys
from collections.abc import Sequence
from typing import Any

from gym_service.protocol.frames import HEADER, MAGIC, VERSION, frame_bytes
from support.hostile import HOSTILE

NUMBERS = (0, 1, 2, 7, 64, 127, 128, 255, 12287, 12288, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)
HOSTILE_HEADS = [head for head in HOSTILE.values() if len(head) < 4096]


class Mutator:
    """Makes conversations from those of a corpus. The corpus grows by those that reach something new."""

    def __init__(self, source: random.Random, frames: Sequence[bytes], most_bytes: int) -> None:
        """``frames``: the frames of a valid conversation. ``most_bytes``: the limit for a conversation."""
        self.corpus = [b"".join(frames)]
        self._random = source
        self._frames = frames
        self._most_bytes = most_bytes

    def conversation(self) -> bytes:
        """A conversation of the corpus, mutated once or several times."""
        recent = self.corpus[-50:] if self._random.random() < 0.5 else self.corpus
        said = bytearray(self._random.choice(recent))
        for _ in range(self._random.choice((1, 1, 1, 2, 4, 8))):
            if said:
                self._random.choice(MUTATIONS)(self, said)
        return bytes(said[: self._most_bytes])

    def _place(self, said: bytearray) -> int:
        """A position, mostly where there is structure: in the first bytes, or just after the start of a frame."""
        start = self._random.choice(
            [match.start() for match in re.finditer(re.escape(MAGIC + bytes([VERSION])), said)] or [0]
        )
        near = start + self._random.randrange(64) if self._random.random() < 0.7 else self._random.randrange(len(said))
        return min(near, len(said) - 1)

    def flip(self, said: bytearray) -> None:
        said[self._place(said)] ^= 1 << self._random.randrange(8)

    def number(self, said: bytearray) -> None:
        at, form = self._place(said), self._random.choice(("<B", "<I", "<Q"))
        mask = 2 ** (8 * struct.calcsize(form)) - 1
        number = struct.pack(form, self._random.choice(NUMBERS) & mask)
        said[at : at + len(number)] = number

    def cut(self, said: bytearray) -> None:
        at = self._place(said)
        del said[at : at + self._random.choice((1, 4, 8, 40, len(said)))]

    def repeat(self, said: bytearray) -> None:
        at, size = self._place(said), self._random.choice((1, 4, 16, 200))
        said[at:at] = said[at : at + size] * self._random.choice((1, 2, 50))

    def splice(self, said: bytearray) -> None:
        other = self._random.choice(self.corpus)
        at, start = self._place(said), self._random.randrange(len(other) or 1)
        said[at : at + self._random.randrange(64)] = other[start : start + self._random.randrange(1, 300)]

    def hostile_head(self, said: bytearray) -> None:
        """Replace the head of one frame by a hostile one. The rest of the frame is valid, so that the head is read."""
        frames = list(self._frames)
        at = self._random.randrange(len(frames))
        kind, call_id = frames[at][3], int.from_bytes(frames[at][4:8], "little")
        head = bytearray(self._random.choice(HOSTILE_HEADS))
        if head and self._random.random() < 0.5:
            head[self._random.randrange(len(head))] ^= 1 << self._random.randrange(8)
        frames[at] = b"".join(frame_bytes(kind, call_id, bytes(head)))
        said[:] = b"".join(frames)

    def mutate_head(self, said: bytearray) -> None:
        """Mutate the head of one frame and correct its size, so that it is read to the end."""
        frames = list(self._frames)
        at = self._random.randrange(len(frames))
        magic, version, kind, call_id, head_bytes, count = HEADER.unpack_from(frames[at])
        begin = HEADER.size + 8 * count
        head = bytearray(frames[at][begin : begin + head_bytes])
        for _ in range(self._random.choice((1, 2, 4))):
            if head:
                self._random.choice((Mutator.flip, Mutator.number, Mutator.cut, Mutator.repeat, Mutator.splice))(
                    self, head
                )
        header = HEADER.pack(magic, version, kind, call_id, len(head), count)
        rest = frames[at][begin + head_bytes :]
        frames[at] = header + frames[at][HEADER.size : begin] + bytes(head) + rest
        said[:] = b"".join(frames)


MUTATIONS = (
    Mutator.flip,
    Mutator.number,
    Mutator.cut,
    Mutator.repeat,
    Mutator.splice,
    Mutator.hostile_head,
    *[Mutator.mutate_head] * 2,
)


class LineCoverage:
    """Counts the lines of the package that have run so far. Each is reported once, and costs nothing afterwards."""

    def __init__(self) -> None:
        self.count = 0
        self._monitoring: Any = getattr(sys, "monitoring", None)  # new in Python 3.12

    def __enter__(self) -> None:
        if self._monitoring:
            monitoring = self._monitoring
            monitoring.use_tool_id(monitoring.COVERAGE_ID, "fuzz")
            monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, self._see)
            monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)

    def __exit__(self, *raised: object) -> None:
        if self._monitoring:
            self._monitoring.set_events(self._monitoring.COVERAGE_ID, 0)
            self._monitoring.free_tool_id(self._monitoring.COVERAGE_ID)

    def _see(self, code: Any, line: int) -> Any:
        self.count += "/gym_service/" in code.co_filename
        return self._monitoring.DISABLE
