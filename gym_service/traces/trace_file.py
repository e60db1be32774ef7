"""A trace on disk: rows in checked, compressed blocks.

Knows the bytes of the file and the shape of a row. Never knows an env. Python 3.10 and up. docs/trace-format.md
describes the format for readers that are not this one; change both together, and FORMAT with them.

1. The first line is MAGIC and a decimal number, the version of the format: ``head -1`` shows it.
2. Blocks follow. A block is its header (raw size, stored size, CRC-32 of the stored bytes; three little-endian 32-bit
   numbers) and the stored bytes, which zlib has compressed.
3. A block's raw bytes are a head and buffers, as in a frame of the wire: the head's size and the number of buffers
   (32 bits each), the size of each buffer (64 bits), the head, the buffers. The head holds rows, one after another, in
   the general form of ``protocol/encoder.py``: plain values with tags. Nothing in a trace is ever executed.
4. The first row is a dict, the header. The last one is ("end", a dict). A file without it was cut off.

A row is (call, arguments, summary), and with full=True a fourth item, the results, a tuple. Of a call that failed the
fourth item is a dict of one item: ``raised`` (by the simulator) or ``ended`` (the server, or the connection, ended).
"""

import contextlib
import errno
import functools
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from gymnasium.spaces import GraphInstance

from gym_service.errors import TraceError
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import BadValue, flat_bytes

MAGIC = b"gym-service trace "
FORMAT = 1
# Raw bytes in a block: with hashes alone some thousand steps.
BLOCK_BYTES = 128 * 1024
# What a killed client loses at most, in seconds and in bytes (BLOCK_BYTES).
FLUSH_S = 5.0
# Of one block, which holds at least one row: a result of the wire may hold 64 MiB beside what its layouts need.
MAX_BLOCK_BYTES = 2**30
# The quickest: a full trace of pictures is large anyhow, and the recording waits for it.
COMPRESSION_LEVEL = 1
CALLS = ("reset", "step", "render", "set", "call", "function", "restart")

_block = struct.Struct("<III")
_sizes = struct.Struct("<II")


def encoded(value: Any) -> bytes:
    """A value as it stands in a row. It holds no large array."""
    return bytes(Encoder().add(value).head)


@functools.cache
def before_bytes(size_bytes: int) -> bytes:
    """What stands before the content of an encoded ``bytes`` object of this length."""
    return encoded(bytes(size_bytes))[: -size_bytes or None]


# The row of a step up to the action. Each None ends what stands before it, and is one byte.
BEFORE_ACTION = encoded((None, None, None))[:-3] + encoded("step") + encoded((None,))[:-1]


class Row(NamedTuple):
    """One call: its name, its arguments, the summary of what came back, and that itself.

    ``results`` is None where only the summary was kept. ``raised`` is what the simulator raised ("ValueError: text"),
    ``ended`` what ended the env during the call; both are empty for a call that was answered.
    """

    call: str
    arguments: tuple[Any, ...]
    summary: bytes
    results: tuple[Any, ...] | None = None
    raised: str = ""
    ended: str = ""


class TraceWriter:
    """Writes rows into a file beside the one that is wanted, which appears, whole, with ``finish``.

    Raises:
        TraceError: the file cannot be written there. After the constructor only ``finish`` raises it.
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.failure = ""  # why nothing more is written, once that is so
        self._process_id = os.getpid()
        self._encoder = Encoder()
        self._flushed_at = time.monotonic()
        self._partial = self.path.parent / f".{self.path.name}.{secrets.token_hex(4)}.partial"
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            fd = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise TraceError(_cannot_write(self.path, error), path=str(self.path)) from error
        self._file: BinaryIO | None = os.fdopen(fd, "wb", buffering=0)  # a forked child has nothing of it to flush
        try:
            self._file.write(b"%s%d\n" % (MAGIC, FORMAT))
            self._add(dict(header), "$.header")
        except BaseException:
            self.discard()
            raise

    def write(self, *row: Any) -> None:
        """Append a row, whose values are copied. Raises nothing: ``failure`` says where nothing more is written."""
        if self.failure:
            return
        self._add(row, "$")
        self._flush_if_due()

    def _flush_if_due(self) -> None:
        if self._encoder.size_bytes > BLOCK_BYTES or time.monotonic() - self._flushed_at > FLUSH_S:
            try:
                self._flush()
            except OSError as error:
                self.failure = _cannot_write(self.path, error)

    def write_encoded(self, row: bytes) -> None:
        """As ``write``, for a row that is encoded already."""
        if not self.failure:
            self._encoder.head += row
            self._flush_if_due()

    def _add(self, value: Any, path: str) -> None:
        buffers = self._encoder.buffers
        known = len(buffers)
        self._encoder.add(value, path, opaque=True)
        if len(buffers) > known:  # the caller may change them next
            buffers[known:] = [flat_bytes(array).copy() for array in buffers[known:]]

    def finish(self, end: Mapping[str, Any]) -> None:
        """Write the last row and put the file in its place. Once; later calls, and those of a forked child, do nothing.

        Raises TraceError where that cannot be done; nothing is left behind then.
        """
        if self._file is None or os.getpid() != self._process_id:
            return
        try:
            if self.failure:
                raise TraceError(self.failure, path=str(self.path))
            self._encoder.add(("end", dict(end)))
            self._flush()
            self._file.close()
            self._partial.replace(self.path)
        except OSError as error:
            raise TraceError(_cannot_write(self.path, error), path=str(self.path)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave no file."""
        if self._file is not None and os.getpid() == self._process_id:
            self._file.close()
            self._file = None
            with contextlib.suppress(OSError):
                self._partial.unlink()

    def _flush(self) -> None:
        assert self._file is not None
        encoder, self._encoder = self._encoder, Encoder()
        self._flushed_at = time.monotonic()
        sizes = struct.pack(f"<{len(encoder.buffers)}Q", *map(len, encoder.buffers))
        raw = b"".join([_sizes.pack(len(encoder.head), len(encoder.buffers)), sizes, encoder.head, *encoder.buffers])
        stored = zlib.compress(raw, COMPRESSION_LEVEL)
        data = memoryview(_block.pack(len(raw), len(stored), zlib.crc32(stored)) + stored)
        while data:
            data = data[self._file.write(data) :]


class TraceReader:
    """Reads a trace, row by row.

    ``header`` is its first row. Iterating gives every Row, once, and raises TraceError where the file is cut off or
    spoilt. ``end`` is the last row's dict, once all others were read. A context manager, which closes the file.

    Raises:
        TraceError: there is no such file, it is no trace, or it is of a version that this one cannot read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.end: dict[str, Any] | None = None
        self._count = 0
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror}", path=str(self.path)) from error
        try:
            self._check_version(self._file.readline(64))
            self._rows = self._all_rows()
            header = next(self._rows, None)
            if header is None:
                raise self._cut_off()
            if type(header) is not dict:
                raise self._spoilt("its first row is no header")
            self.header: dict[str, Any] = header
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "TraceReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            if type(row) is tuple and [type(part) for part in row] == [str, dict] and row[0] == "end":
                self.end = row[1]
                self._expect_nothing_more()
                return
            yield self._row(row)
            self._count += 1
        raise self._cut_off()

    def _check_version(self, line: bytes) -> None:
        number = line[len(MAGIC) :].strip()
        if not line.startswith(MAGIC) or not number.isdigit() or not line.endswith(b"\n"):
            raise TraceError(f"{self.path} is no trace: a trace begins with {MAGIC.decode()!r}", path=str(self.path))
        if int(number) != FORMAT:
            text = f"{self.path} is a trace of format {int(number)}, and this gym-service reads format {FORMAT}"
            raise TraceError(f"{text}\n  try: another version of gym-service", path=str(self.path))

    def _all_rows(self) -> Iterator[Any]:
        while (raw := self._next_block()) is not None:
            try:
                decoder = _decoder_of(raw)
                yield decoder.read()  # a block without a row is none
                while decoder.has_more():
                    yield decoder.read()
                decoder.expect_end()
            except (BadValue, struct.error) as error:
                raise self._spoilt(str(error)) from error

    def _next_block(self) -> memoryview | None:
        """The raw bytes of the next block; None at the end of the file."""
        at = self._file.tell()
        header = self._file.read(_block.size)
        if not header:
            return None
        if len(header) < _block.size:
            return None  # cut off: what is left is as if it were not there, and the rows end without their end
        raw_size, stored_size, checksum = _block.unpack(header)
        if max(raw_size, stored_size) > MAX_BLOCK_BYTES:
            raise self._spoilt(f"the block at byte {at} announces {max(raw_size, stored_size)} bytes")
        stored = self._file.read(stored_size)
        if len(stored) < stored_size:
            return None  # cut off likewise
        if zlib.crc32(stored) != checksum:
            raise self._spoilt(f"the block at byte {at} does not match its checksum")
        inflate = zlib.decompressobj()
        try:
            raw = inflate.decompress(stored, raw_size + 1)
        except zlib.error as error:
            raise self._spoilt(f"the block at byte {at}: {error}") from error
        if len(raw) != raw_size:
            raise self._spoilt(f"the block at byte {at} does not hold the {raw_size} bytes that it announces")
        return memoryview(raw)

    def _expect_nothing_more(self) -> None:
        at = self._file.tell()
        if next(self._rows, None) is not None or self._file.read(1):
            raise self._spoilt(f"something stands behind its last record, at byte {at}")

    def _row(self, row: Any) -> Row:
        is_row = type(row) is tuple and 3 <= len(row) <= 4
        if not is_row or [type(part) for part in row[:3]] != [str, tuple, bytes] or row[0] not in CALLS:
            raise self._spoilt(f"row {self._count} is none")
        if len(row) == 3:
            return Row(*row)
        if type(row[3]) is tuple:
            return Row(*row)
        if type(row[3]) is dict and len(row[3]) == 1:
            ((kind, text),) = row[3].items()
            if kind in ("raised", "ended") and type(text) is str:
                call, arguments, summary = row[:3]
                return Row(
                    call,
                    arguments,
                    summary,
                    raised=text if kind == "raised" else "",
                    ended=text if kind == "ended" else "",
                )
        raise self._spoilt(f"row {self._count} has no results")

    def _cut_off(self) -> TraceError:
        text = f"{self.path} is cut off after {self._count} calls: its last record is missing"
        return TraceError(f"{text}\n  try: a recording that was closed, with env.close()", path=str(self.path))

    def _spoilt(self, reason: str) -> TraceError:
        return TraceError(f"{self.path} is spoilt: {reason}", path=str(self.path))


def _decoder_of(raw: memoryview) -> ValueDecoder:
    """What reads the rows of a block. Raises BadValue, struct.error."""
    head_size, count = _sizes.unpack_from(raw)
    at = _sizes.size + 8 * count
    if at > len(raw):
        raise BadValue(f"{count} buffers in a block of {len(raw)} bytes")
    sizes = struct.unpack_from(f"<{count}Q", raw, _sizes.size)
    if at + head_size + sum(sizes) != len(raw):
        raise BadValue(f"a block of {len(raw)} bytes whose parts are {at + head_size + sum(sizes)}")
    head = bytes(raw[at : at + head_size])
    at += head_size
    buffers = []
    for size in sizes:
        buffers.append(bytearray(raw[at : at + size]))  # writeable, and its array's own
        at += size
    return ValueDecoder(head, buffers, GraphInstance)


def _cannot_write(path: Path, error: OSError) -> str:
    parent = "" if path.parent.is_dir() else f"\n  try: mkdir -p {path.parent}"
    return f"{path} cannot be written: {error.strerror}{parent}"
