"""The wire as bytes: one table of (values, head, buffers) that tests both directions.

The bytes are literals, not computed: to change one is to change the protocol and its version.
"""

import datetime
import enum
import pathlib
import struct
import sys
import uuid
from collections import deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, GraphInstance

import gym_service.client.spaces  # noqa: F401 - it makes spaces of what decoders read
from gym_service.protocol.values import Opaque

Row = tuple[tuple[Any, ...], bytes, list[bytes]]


def nan(payload: str) -> float:
    """A float by its eight bytes."""
    return struct.unpack("<d", bytes.fromhex(payload))[0]


def scalar(dtype: str, content: str) -> np.generic:
    """A numpy scalar by its bytes."""
    return np.frombuffer(bytes.fromhex(content), dtype)[0]


def objects(*items: Any) -> np.ndarray:
    """A one-dimensional object array of exactly these items, without numpy's conversions."""
    array = np.empty(len(items), object)
    array[:] = [*items]
    return array


def graph() -> GraphInstance:
    return GraphInstance(np.array([[1]], "i1"), None, None)


class Side(enum.IntEnum):
    LEFT = 1
    PORT = 1


class Wind(enum.Flag):
    N = 1
    S = 2


Point = namedtuple("Point", "x")
UTC = datetime.timezone.utc

# A class and its members. How a Flag is made, and the name of a combination, depend on the version of Python.
SIDE = (
    b"\0\0\0\0\x84\0\0\0t\x07\0\0\0s\x04\0\0\0enums\x0e\0\0\0support.goldens\x04\0\0\0Sides\x07\0\0\0IntEnumN"
    b"l\x02\0\0\0t\x04\0\0\0s\x04\0\0\0LEFTs\x04\0\0\0LEFTi\x01\0\0\0\0\0\0\0N"
    b"t\x04\0\0\0s\x04\0\0\0PORTs\x04\0\0\0LEFTNNl\x01\0\0\0s\x04\0\0\0LEFT"
)
IS_NEW = sys.version_info >= (3, 11)
WIND = (
    (b"\0\0\0\0\x8a" if IS_NEW else b"\0\0\0\0\x80")
    + b"\0\0\0t\x07\0\0\0s\x04\0\0\0enums\x0e\0\0\0support.goldens\x04\0\0\0Winds\x04\0\0\0Flag"
    + (b"s\x06\0\0\0strict" if IS_NEW else b"N")
    + b"l\x02\0\0\0t\x04\0\0\0s\x01\0\0\0Ns\x01\0\0\0Ni\x01\0\0\0\0\0\0\0N"
    b"t\x04\0\0\0s\x01\0\0\0Ss\x01\0\0\0Si\x02\0\0\0\0\0\0\0Nl\x02\0\0\0s\x01\0\0\0Ns\x01\0\0\0S"
)
UTC_BYTES = (
    b"k\x02\0\0\0s\x08\0\0\0timezonek\x04\0\0\0s\x09\0\0\0timedeltai\0\0\0\0\0\0\0\0i\0\0\0\0\0\0\0\0i\0\0\0\0\0\0\0\0"
)

LARGE = bytes(range(256)) * 48  # 12 KiB, the least of a buffer
LARGE_2D = np.frombuffer(LARGE, "u1").reshape(96, 128)

GOLDEN: dict[str, Row] = {
    "nothing": ((), b"", []),
    "None": ((None,), b"N", []),
    "True": ((True,), b"T", []),
    "False": ((False,), b"F", []),
    "zero": ((0,), b"i\0\0\0\0\0\0\0\0", []),
    "minus one": ((-1,), b"i" + b"\xff" * 8, []),
    "largest small int": ((2**63 - 1,), b"i" + b"\xff" * 7 + b"\x7f", []),
    "smallest small int": ((-(2**63),), b"i" + b"\0" * 7 + b"\x80", []),
    "first big int": ((2**63,), b"I\x09\0\0\0" + b"\0" * 7 + b"\x80\0", []),
    "negative big int": ((-(2**63) - 1,), b"I\x09\0\0\0" + b"\xff" * 7 + b"\x7f\xff", []),
    "float": ((1.5,), b"f\0\0\0\0\0\0\xf8\x3f", []),
    "negative zero": ((-0.0,), b"f\0\0\0\0\0\0\0\x80", []),
    "infinity": ((float("-inf"),), b"f\0\0\0\0\0\0\xf0\xff", []),
    "NaN with a payload": ((nan("efbeadde0000f8ff"),), b"f\xef\xbe\xad\xde\0\0\xf8\xff", []),
    "complex": ((complex(1.5, -0.0),), b"c\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\x80", []),
    "empty text": (("",), b"s\0\0\0\0", []),
    "text": (("aé😀\0",), b"s\x08\0\0\0a\xc3\xa9\xf0\x9f\x98\x80\0", []),
    "lone surrogate": (("\ud800",), b"s\x03\0\0\0\xed\xa0\x80", []),
    "bytes": ((b"\0\xff",), b"b\x02\0\0\0\0\xff", []),
    "numpy text": ((np.str_("né"),), b"u\x03\0\0\0n\xc3\xa9", []),
    "numpy bytes": ((np.bytes_(b"\0\xff"),), b"v\x02\0\0\0\0\xff", []),
    "empty list": (([],), b"l\0\0\0\0", []),
    "list": (([None, True],), b"l\x02\0\0\0NT", []),
    "empty tuple": (((),), b"t\0\0\0\0", []),
    "tuple": (((None, ()),), b"t\x02\0\0\0Nt\0\0\0\0", []),
    "set": (({True},), b"e\x01\0\0\0T", []),
    "frozenset": ((frozenset([False]),), b"z\x01\0\0\0F", []),
    "empty dict": (({},), b"d\0\0\0\0", []),
    "dict in its order": (({"b": None, "a": True},), b"d\x02\0\0\0s\x01\0\0\0bNs\x01\0\0\0aT", []),
    "dict with keys of every kind": (
        ({None: 1, (True, b"k"): 2, 1.5: 3},),
        b"d\x03\0\0\0Ni\x01\0\0\0\0\0\0\0"
        b"t\x02\0\0\0Tb\x01\0\0\0ki\x02\0\0\0\0\0\0\0"
        b"f\0\0\0\0\0\0\xf8\x3fi\x03\0\0\0\0\0\0\0",
        [],
    ),
    "nested": (([{"a": ([],)}],), b"l\x01\0\0\0d\x01\0\0\0s\x01\0\0\0at\x01\0\0\0l\0\0\0\0", []),
    "opaque": ((Opaque("_thread.lock", "<é>"),), b"xs\x0c\0\0\0_thread.locks\x04\0\0\0<\xc3\xa9>", []),
    "np.bool": ((np.bool_(True),), b"n\x03\0\0\0|b1\x01", []),
    "np.int8": ((np.int8(-2),), b"n\x03\0\0\0|i1\xfe", []),
    "np.uint8": ((np.uint8(254),), b"n\x03\0\0\0|u1\xfe", []),
    "np.int16": ((np.int16(-2),), b"n\x03\0\0\0<i2\xfe\xff", []),
    "np.uint16": ((np.uint16(1),), b"n\x03\0\0\0<u2\x01\0", []),
    "np.int32": ((np.int32(-2),), b"n\x03\0\0\0<i4\xfe\xff\xff\xff", []),
    "np.uint32": ((np.uint32(1),), b"n\x03\0\0\0<u4\x01\0\0\0", []),
    "np.int64": ((np.int64(-2),), b"n\x03\0\0\0<i8\xfe" + b"\xff" * 7, []),
    "np.uint64": ((np.uint64(2**64 - 1),), b"n\x03\0\0\0<u8" + b"\xff" * 8, []),
    "np.float16": ((np.float16(-0.0),), b"n\x03\0\0\0<f2\0\x80", []),
    "np.float32 NaN with a payload": ((scalar("<f4", "0100c0ff"),), b"n\x03\0\0\0<f4\x01\0\xc0\xff", []),
    "np.float64": ((np.float64(1.5),), b"n\x03\0\0\0<f8\0\0\0\0\0\0\xf8\x3f", []),
    "np.complex64": ((np.complex64(1.5j),), b"n\x03\0\0\0<c8\0\0\0\0\0\0\xc0\x3f", []),
    "np.complex128": ((np.complex128(1.5),), b"n\x04\0\0\0<c16\0\0\0\0\0\0\xf8\x3f" + b"\0" * 8, []),
    "datetime64": ((np.datetime64(1, "s"),), b"n\x06\0\0\0<M8[s]\x01" + b"\0" * 7, []),
    "datetime64 NaT in tens of ms": (
        (np.datetime64("NaT", "10ms"),),
        b"n\x09\0\0\0<M8[10ms]" + b"\0" * 7 + b"\x80",
        [],
    ),
    "timedelta64": ((np.timedelta64(-1, "ns"),), b"n\x07\0\0\0<m8[ns]" + b"\xff" * 8, []),
    "array": ((np.array([1, -2], "<i2"),), b"a\x03\0\0\0<i2\x01\x02\0\0\0\0\0\0\0\x01\0\xfe\xff", []),
    "0-d array": ((np.array(True),), b"a\x03\0\0\0|b1\0\x01", []),
    "empty array": (
        (np.zeros((0, 3), "<f4"),),
        b"a\x03\0\0\0<f4\x02\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0",
        [],
    ),
    "big-endian array": ((np.array([1], ">u4"),), b"a\x03\0\0\0>u4\x01\x01\0\0\0\0\0\0\0\0\0\0\x01", []),
    "array of texts": ((np.array(["é"]),), b"a\x03\0\0\0<U1\x01\x01\0\0\0\0\0\0\0\xe9\0\0\0", []),
    "array of bytes": ((np.array([b"ab"]),), b"a\x03\0\0\0|S2\x01\x01\0\0\0\0\0\0\0ab", []),
    "array of dates": ((np.array([1], "M8[D]"),), b"a\x06\0\0\0<M8[D]\x01\x01" + b"\0" * 7 + b"\x01" + b"\0" * 7, []),
    "large array": (
        (LARGE_2D, None),
        b"A\x03\0\0\0|u1\x02\x60\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0N",
        [LARGE],
    ),
    "two large arrays in a list": (
        ([LARGE_2D.ravel(), np.frombuffer(LARGE[::-1], ">u2")],),
        b"l\x02\0\0\0A\x03\0\0\0|u1\x01\0\x30\0\0\0\0\0\0A\x03\0\0\0>u2\x01\0\x18\0\0\0\0\0\0",
        [LARGE, LARGE[::-1]],
    ),
    "object array": ((objects(None, "x", [True]),), b"o\x01\x03\0\0\0\0\0\0\0Ns\x01\0\0\0xl\x01\0\0\0T", []),
    "0-d object array": ((np.array(None, object),), b"o\0N", []),
    "2-d object array": (
        (np.array([[None, True]], object),),
        b"o\x02\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0NT",
        [],
    ),
    "object array in an object array": (
        (objects(objects(None)),),
        b"o\x01\x01\0\0\0\0\0\0\0o\x01\x01\0\0\0\0\0\0\0N",
        [],
    ),
    "graph": (
        (graph(),),
        b"g\x03\0\0\0a\x03\0\0\0|i1\x02\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01NN",
        [],
    ),
    "bytearray": ((bytearray(b"\0\xff"),), b"y\x02\0\0\0\0\xff", []),
    "deque": ((deque([None], 2),), b"q\x02\0\0\0\0\0\0\0\x01\0\0\0N", []),
    "deque without a bound": ((deque(),), b"q" + b"\xff" * 8 + b"\0\0\0\0", []),
    "range": (
        (range(1, 5, 2),),
        b"r\x03\0\0\0i\x01\0\0\0\0\0\0\0i\x05\0\0\0\0\0\0\0i\x02\0\0\0\0\0\0\0",
        [],
    ),
    "slice": ((slice(None, True),), b"w\x03\0\0\0NTN", []),
    "date": (
        (datetime.date(2026, 1, 2),),
        b"k\x04\0\0\0s\x04\0\0\0datei\xea\x07\0\0\0\0\0\0i\x01\0\0\0\0\0\0\0i\x02\0\0\0\0\0\0\0",
        [],
    ),
    "time": (
        (datetime.time(1, 2, 3, 4),),
        b"k\x07\0\0\0s\x04\0\0\0timei\x01\0\0\0\0\0\0\0i\x02\0\0\0\0\0\0\0"
        b"i\x03\0\0\0\0\0\0\0i\x04\0\0\0\0\0\0\0Ni\0\0\0\0\0\0\0\0",
        [],
    ),
    "datetime": (
        (datetime.datetime(2026, 1, 2, tzinfo=UTC),),
        b"k\x0a\0\0\0s\x08\0\0\0datetimei\xea\x07\0\0\0\0\0\0i\x01\0\0\0\0\0\0\0i\x02\0\0\0\0\0\0\0"
        + b"i\0\0\0\0\0\0\0\0" * 4
        + UTC_BYTES
        + b"i\0\0\0\0\0\0\0\0",
        [],
    ),
    "timedelta": (
        (datetime.timedelta(-1, 2, 3),),
        b"k\x04\0\0\0s\x09\0\0\0timedeltai" + b"\xff" * 8 + b"i\x02\0\0\0\0\0\0\0i\x03\0\0\0\0\0\0\0",
        [],
    ),
    "time zone": ((UTC,), UTC_BYTES, []),
    "Decimal": ((Decimal("1.10"),), b"k\x02\0\0\0s\x07\0\0\0Decimals\x04\0\0\x001.10", []),
    "Fraction": (
        (Fraction(1, 3),),
        b"k\x03\0\0\0s\x08\0\0\0Fractioni\x01\0\0\0\0\0\0\0i\x03\0\0\0\0\0\0\0",
        [],
    ),
    "UUID": ((uuid.UUID(bytes=b"0123456789abcdef"),), b"k\x02\0\0\0s\x04\0\0\0UUIDb\x10\0\0\x000123456789abcdef", []),
    "path": ((pathlib.PosixPath("/a"),), b"k\x02\0\0\0s\x09\0\0\0PosixPaths\x02\0\0\0/a", []),
    "pure path": ((pathlib.PurePosixPath("a"),), b"k\x02\0\0\0s\x0d\0\0\0PurePosixPaths\x01\0\0\0a", []),
    "path of Windows": ((pathlib.PureWindowsPath("a"),), b"k\x02\0\0\0s\x0f\0\0\0PureWindowsPaths\x01\0\0\0a", []),
    "space": (
        (Discrete(2),),
        b"Sd\x04\0\0\0s\x01\0\0\0ni\x02\0\0\0\0\0\0\0s\x05\0\0\0starti\0\0\0\0\0\0\0\0"
        b"s\x05\0\0\0dtypes\x03\0\0\0<i8s\x04\0\0\0kinds\x08\0\0\0Discrete",
        [],
    ),
    "Enum class": ((Side,), b"C" + SIDE, []),
    "member": ((Side.LEFT,), b"E" + SIDE + b"s\x04\0\0\0LEFT", []),
    "two members of a class": (
        ([Side.LEFT, Side.PORT],),
        b"l\x02\0\0\0E" + SIDE + b"s\x04\0\0\0LEFTE\x96\0\0\0s\x04\0\0\0LEFT",
        [],
    ),
    "combination of flags": (
        (Wind.N | Wind.S,),
        b"U" + WIND + (b"s\x03\0\0\0N|S" if IS_NEW else b"N") + b"i\x03\0\0\0\0\0\0\0",
        [],
    ),
    "named tuple": (
        (Point(None),),
        b"p\0\0\0\0\x3c\0\0\0t\x04\0\0\0s\x0a\0\0\0namedtuples\x0e\0\0\0support.goldens\x05\0\0\0Point"
        b"l\x01\0\0\0s\x01\0\0\0x\x01\0\0\0N",
        [],
    ),
    "several values in a row": ((None, 1.5, {}), b"Nf\0\0\0\0\0\0\xf8\x3fd\0\0\0\0", []),
}
