"""Heads that are no value, whatever Python and whatever numpy reads them: each must be a BadValue."""

import struct


def array(dtype: bytes, *shape: int, tag: bytes = b"a") -> bytes:
    return tag + struct.pack("<I", len(dtype)) + dtype + struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


def objects(count: int) -> bytes:
    return b"o" + struct.pack("<BQ", 1, count)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "unknown tag": b"?",
    "dtype of objects": array(b"|O", 1) + bytes(8),
    "dtype of objects with a size": array(b"|O8", 1) + bytes(8),
    "void": array(b"|V1000000000", 1) + bytes(8),
    "texts whose size wraps": array(b"<U999999999", 2) + bytes(8),
    "texts whose size wraps, none of them": array(b"<U999999999", 0),
    "scalar of texts whose size wraps": b"n\x0b\0\0\0<U999999999" + bytes(8),
    "bytes that are not there": array(b"|S99999999", 1),
    "negative dimension": array(b"|u1", 2**64 - 1) + bytes(8),
    "negative dimensions": array(b"|u1", 2**64 - 2, 2**64 - 2) + bytes(8),
    "2**40": array(b"|u1", 2**40) + bytes(8),
    "product that wraps to 4": array(b"|u1", 2**62 + 1, 4) + bytes(8),
    "none of too many": array(b"<f8", 0, 2**62),
    "33 dimensions": array(b"|u1", *[1] * 33) + bytes(1),
    "255 dimensions": b"a\x03\0\0\0|u1\xff",
    "unit that is none": array(b"<M8[x]", 1) + bytes(8),
    "unit of no length": array(b"<M8[0s]", 1) + bytes(8),
    "unit of negative length": array(b"<m8[-5s]", 1) + bytes(8),
    "unit whose length wraps": array(b"<M8[3000000000as]", 1) + bytes(8),
    "dtype expression": array(b"i4,i4", 1) + bytes(8),
    "dtype of this machine": array(b"=i4", 1) + bytes(4),
    "dtype with a space": array(b"<i4 ", 1) + bytes(4),
    "dtype that is no text": array(b"<\xff4", 1) + bytes(4),
    "dtype of no bytes": array(b"<U0", 1),
    "large array without its buffer": array(b"|u1", 4096, tag=b"A"),
    "large array of objects": array(b"|O8", 512, tag=b"A"),
    "texts with characters that do not exist": array(b"<U1", 1) + b"\xff" * 4,
    "big-endian ones": array(b">U1", 2) + b"\0\0\0a\0\x11\0\0",
    "scalar text with characters that do not exist": b"n\x03\0\0\0<U1" + b"\xff" * 4,
    "more items than bytes": b"l\xff\xff\xff\xffNN",
    "more pairs than bytes": b"d\xff\xff\xff\xffNN",
    "more objects than bytes": objects(2**40) + b"N",
    "objects of a negative count": b"o" + struct.pack("<BQQ", 2, 2**64 - 1, 2**64 - 1) + b"N",
    "text that is not there": b"s\xff\xff\xff\xffab",
    "integer that is not there": b"I\xff\xff\xff\xffab",
    "unhashable key": b"d\x01\0\0\0l\0\0\0\0N",
    "unhashable member": b"e\x01\0\0\0d\0\0\0\0",
    "unhashable key in a tuple": b"d\x01\0\0\0t\x01\0\0\0" + array(b"|u1", 1) + b"\0N",
    "text that is no UTF-8": b"s\x02\0\0\0\xff\xfe",
    "text that ends early": b"u\x01\0\0\0\xc3",
    "graph of two": b"g\x02\0\0\0NN",
    "opaque of no texts": b"xNN",
    "opaque of numpy texts": b"xu\x01\0\0\0au\x01\0\0\0b",
    "lists 100,000 deep": b"l\x01\0\0\0" * 100_000 + b"N",
    "tuples 100,000 deep": b"t\x01\0\0\0" * 100_000 + b"N",
    "sets 100,000 deep": b"z\x01\0\0\0" * 100_000 + b"N",
    "dicts 100,000 deep": b"d\x01\0\0\0N" * 100_000 + b"N",
    "keys 100,000 deep": b"d\x01\0\0\0" * 100_000 + b"N",
    "graphs 100,000 deep": b"g\x03\0\0\0" * 100_000 + b"N",
    "objects 100,000 deep": objects(1) * 100_000 + b"N",
    "opaques 100,000 deep": b"x" * 100_000,
    "objects that each announce the rest": b"".join(objects(200_000) for _ in range(100)) + b"?" * 200_000,
}
