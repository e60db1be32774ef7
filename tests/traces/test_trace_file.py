"""The file of a trace: what is read back, and the error for every kind of damage."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.same import same

from gym_service.errors import TraceError
from gym_service.protocol.encoder import Encoder
from gym_service.traces import trace_file
from gym_service.traces.trace_file import MAX_BLOCK_BYTES, Row, TraceReader, TraceWriter

SUMMARY = b"12345678\x01N"
PICTURE = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)  # large enough for a separate buffer
HEADER = {"env": {"id": "X-v0"}, "space": PICTURE}
ROWS = [
    Row("reset", (3, None), SUMMARY),
    Row("step", (np.float32([1, 2]),), SUMMARY, ({"image": PICTURE}, 1.5, False, np.bool_(True), {"n": 2**70})),
    Row("step", (0,), SUMMARY, None, raised="ValueError: no"),
    Row("set", ("goal", PICTURE[:, :, 0], True), SUMMARY),
    Row("restart", (), b""),
    Row("step", (1,), SUMMARY, None, ended="ServerCrashed: gone"),
]


def write(path: Path, rows: list[Row] = ROWS, end: dict[str, Any] | None = None) -> Path:
    writer = TraceWriter(path, HEADER)
    for row in rows:
        failure = {"raised": row.raised} if row.raised else {"ended": row.ended} if row.ended else None
        fourth = [row.results] if row.results is not None else [failure] if failure else []
        writer.write(*row[:3], *fourth)
    writer.finish({"calls": len(rows)} if end is None else end)
    return path


def read(path: Path) -> list[Row]:
    with TraceReader(path) as reader:
        return list(reader)


def block(*values: Any, raw: bytes | None = None, raw_size: int | None = None) -> bytes:
    """A block with a correct checksum."""
    encoder = Encoder()
    for value in values:
        encoder.add(value)
    raw = struct.pack("<II", len(encoder.head), 0) + encoder.head if raw is None else raw
    stored = zlib.compress(raw)
    return struct.pack("<III", len(raw) if raw_size is None else raw_size, len(stored), zlib.crc32(stored)) + stored


def file_of(path: Path, *blocks: bytes) -> Path:
    path.write_bytes(b"gym-service trace 1\n" + b"".join(blocks))
    return path


def test_every_row_is_read_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.trace")
    with TraceReader(path) as reader:
        assert same(reader.header, HEADER)
        assert same([tuple(row) for row in reader], [tuple(row) for row in ROWS])
        assert reader.end == {"calls": 6}
    assert path.read_bytes().startswith(b"gym-service trace 1\n")


def test_many_blocks_are_one_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_file, "BLOCK_BYTES", 100)
    rows = [Row("step", (number,), SUMMARY) for number in range(500)]
    assert same([tuple(row) for row in read(write(tmp_path / "a.trace", rows))], [tuple(row) for row in rows])


def test_arrays_that_were_read_can_be_written_to(tmp_path: Path) -> None:
    results = read(write(tmp_path / "a.trace"))[1].results
    assert results is not None
    results[0]["image"][0] = 1


def test_every_file_that_was_cut_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_file, "BLOCK_BYTES", 1)
    whole = write(tmp_path / "a.trace").read_bytes()
    cut = tmp_path / "cut.trace"
    texts = set()
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(TraceError) as caught:
            read(cut)
        assert caught.value.path == str(cut)
        texts.add(str(caught.value).partition("\n")[0].removeprefix(f"{cut} "))
    # Here the header and the first row share a block, so no file is cut off after exactly one call.
    cuts = {f"is cut off after {count} calls: its last record is missing" for count in range(7)}
    assert texts == {
        "is no trace: a trace begins with 'gym-service trace '",
        *cuts,
    }


def test_every_changed_byte_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_file, "BLOCK_BYTES", 2000)
    whole = write(tmp_path / "a.trace").read_bytes()
    spoilt = tmp_path / "spoilt.trace"
    for at in range(len(whole)):
        spoilt.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        with pytest.raises(TraceError, match=r"is no trace|is spoilt|is cut off|is a trace of format"):
            read(spoilt)


HOSTILE: dict[str, tuple[list[bytes], str]] = {
    "a header that is none": ([block([1])], "its first row is no header"),
    "an unknown call": ([block({}, ("destroy", (), b""))], "row 0 is none"),
    "a row of two": ([block({}, ("step", ()))], "row 0 is none"),
    "a row of five": ([block({}, ("step", (), b"", (), ()))], "row 0 is none"),
    "a row of other types": ([block({}, ("step", [], b""))], "row 0 is none"),
    "an array for a name": ([block({}, (np.zeros(2), (), b""))], "row 0 is none"),
    "results that are none": ([block({}, ("step", (), b"", [1]))], "row 0 has no results"),
    "an unknown failure": ([block({}, ("step", (), b"", {"lost": "x"}))], "row 0 has no results"),
    "an end that is none": ([block({}, ("end", 1))], "row 0 is none"),
    "rows behind the end": ([block({}, ("end", {}), {})], "something stands behind its last record"),
    "a block behind the end": ([block({}, ("end", {})), block({})], "something stands behind its last record"),
    "an empty block": ([block(), block({})], "not a value at byte 0"),
    "an unknown tag": ([block(raw=struct.pack("<II", 1, 0) + b"?")], "unknown tag"),
    "a buffer too many": ([block(raw=struct.pack("<IIQ", 5, 1, 2) + b"d\0\0\0\0" + b"12")], "1 buffers are left over"),
    "parts of another size": ([block(raw=struct.pack("<II", 9, 0) + b"N")], "whose parts are"),
    "buffers without end": ([block(raw=struct.pack("<II", 1, 2**32 - 1) + b"N")], "buffers in a block of"),
    "another size": ([block({}, raw_size=3)], "does not hold the 3 bytes"),
    "too large": ([block({}, raw_size=MAX_BLOCK_BYTES + 1)], "announces 1073741825 bytes"),
    "a bomb": ([block(raw=bytes(10**8), raw_size=100)], "does not hold the 100 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_somebody_made_up_is_refused(tmp_path: Path, name: str) -> None:
    blocks, text = HOSTILE[name]
    with pytest.raises(TraceError, match=f"is spoilt: .*{text}"):
        read(file_of(tmp_path / "a.trace", *blocks))


def test_other_files_and_other_versions_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with pytest.raises(TraceError, match=r"a\.trace cannot be read: No such file or directory"):
        TraceReader(path)
    for content in (b"", b"\x93NUMPY", b"gym-service trace ", b"gym-service trace x\n", b"gym-service trace 1"):
        path.write_bytes(content)
        with pytest.raises(TraceError, match="is no trace"):
            TraceReader(path)
    path.write_bytes(b"gym-service trace 2\n")
    with pytest.raises(TraceError, match="is a trace of format 2, and this gym-service reads format 1"):
        TraceReader(path)
