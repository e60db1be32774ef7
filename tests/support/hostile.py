"""Heads that are not values: every Python and every numpy must give a BadValue for each."""

import struct


def array(dtype: bytes, *shape: int, tag: bytes = b"a") -> bytes:
    return tag + struct.pack("<I", len(dtype)) + dtype + struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


def objects(count: int) -> bytes:
    return b"o" + struct.pack("<BQ", 1, count)


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s" + struct.pack("<I", len(data)) + data


def listed(tag: bytes, *items: bytes) -> bytes:
    return tag + struct.pack("<I", len(items)) + b"".join(items)


def definition(*parts: bytes) -> bytes:
    """The definition of a class, at its first place in a head."""
    data = listed(b"t", *parts)
    return struct.pack("<II", 0, len(data)) + data


def enum_class(*members: bytes, sort: str = "Enum", names: bytes = b"l\x01\0\0\0s\x01\0\0\0A") -> bytes:
    parts = [text(part) for part in ("enum", "os", "Mode", sort)]
    return definition(*parts, b"N", listed(b"l", *members), names)


def member(name: bytes, of: bytes, value: bytes = b"T", data: bytes = b"N") -> bytes:
    return listed(b"t", name, of, value, data)


def holding(value: bytes) -> bytes:
    return b"C" + enum_class(member(text("A"), text("A"), value))


A = member(text("A"), text("A"))
ENUM = enum_class(A)
POINT = definition(text("namedtuple"), text("os"), text("Point"), listed(b"l", text("x")))
ONE, ZERO = b"i\x01" + bytes(7), b"i" + bytes(8)
NO_TEXTS = [text(part) for part in ("kind", "Box", "dtype", "|u1", "shape")]
HUGE_BOX = b"d\x03\0\0\0" + b"".join(NO_TEXTS) + listed(b"t", b"i" + struct.pack("<q", 2**40))


ENDLESS = listed(b"r", ZERO, b"i" + struct.pack("<q", 10**12), ONE)


def space(kind: str, **attributes: bytes) -> bytes:
    data = {"kind": text(kind), "dtype": text("|u1"), **attributes}
    return b"Sd" + struct.pack("<I", len(data)) + b"".join(text(name) + value for name, value in data.items())


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "array of another library that is none": b"D\x01" + text("torch cpu") + ONE,
    "array of another library in one": b"D\x01" + text("torch cpu") + b"D\x01" + text("torch cpu") + array(b"|u1", 0),
    "array of another library with a label that is none": b"D\x01" + ONE + array(b"|u1", 0),
    "array of another library of unknown flags": b"D\x04" + text("torch cpu") + array(b"|u1", 0),
    "bfloat16 of another dtype": b"D\x03" + text("torch cpu") + array(b"|u1", 0),
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
    "large array without its buffer": array(b"|u1", 12288, tag=b"A"),
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
    "member of a class far back": b"E" + struct.pack("<I", 2**31) + text("A"),
    "member of a class that is no definition": b"t\x02\0\0\0NE" + struct.pack("<I", 2) + text("A"),
    "member whose class is itself": b"E" + struct.pack("<I", 1) + text("A"),
    "member that its class lacks": b"E" + ENUM + text("B"),
    "member of no name": b"E" + ENUM + b"N",
    "member of a named tuple's class": b"E" + POINT + text("x"),
    "member of a class that is text": b"E" + struct.pack("<II", 0, 6) + text("a") + text("A"),
    "member of a class of nothing": b"E" + definition() + text("A"),
    "member of a class of six parts": b"E" + definition(*[text("enum")] * 6) + text("A"),
    "member of a class with more behind it": b"E" + struct.pack("<II", 0, 2) + b"NN" + text("A"),
    "member of a class without members": b"E" + enum_class(names=listed(b"l")) + text("A"),
    "class of a sort that is none": b"C" + enum_class(A, sort="Popen"),
    "class of a sort of Python's own": b"C" + enum_class(A, sort="EnumMeta"),
    "class whose alias means nothing": b"C" + enum_class(A, member(text("B"), text("C"))),
    "class whose names are not its members": b"C" + enum_class(A, names=listed(b"l", text("__class__"))),
    "class whose member has a number for a name": b"C" + enum_class(member(ONE, ONE)),
    "class whose names are a text": b"C" + enum_class(A, names=text("A")),
    "class whose members are a dict": b"C" + definition(*[text("enum")] * 4, b"N", b"d\0\0\0\0", listed(b"l")),
    "class of a named tuple": b"C" + POINT,
    "class in a class in a class": holding(holding(holding(b"C" + ENUM))),
    "combination of no Flag": b"U" + ENUM + b"N" + ONE,
    "combination without a number": b"U" + enum_class(A, sort="Flag") + b"NT",
    "combinations 100,000 deep": b"U" + ENUM + (b"U" + struct.pack("<I", len(ENUM) + 1)) * 100_000,
    "named tuple of too many": b"p" + POINT + struct.pack("<I", 2) + b"NN",
    "named tuple of an Enum's class": b"p" + ENUM + struct.pack("<I", 1) + b"N",
    "named tuple with fields of a text": b"p" + definition(*[text("namedtuple")] * 4) + bytes(4),
    "named tuples 100,000 deep": (b"p" + POINT + b"\x01\0\0\0") * 1000,
    "deque of a negative bound": b"q" + struct.pack("<qI", -2, 0),
    "deques 100,000 deep": (b"q" + struct.pack("<qI", -1, 1)) * 100_000,
    "range of no step": listed(b"r", ONE, ONE, ZERO),
    "range of texts": listed(b"r", text("a"), ONE, ONE),
    "range of two": listed(b"r", ONE, ONE),
    "slice of four": listed(b"w", *[b"N"] * 4),
    "slices 100,000 deep": b"w\x03\0\0\0" * 100_000,
    "value of no type": listed(b"k"),
    "value of a type that is none": listed(b"k", text("Popen"), text("true")),
    "value of a type by number": listed(b"k", ONE, ONE),
    "date of texts": listed(b"k", text("date"), *[text("1")] * 3),
    "date as pickle has it": listed(b"k", text("date"), b"b\x04\0\0\0\x07\xea\x01\x01"),
    "date of month 0": listed(b"k", text("date"), ONE, ZERO, ONE),
    "Decimal that is none": listed(b"k", text("Decimal"), text("one")),
    "Decimal of a number": listed(b"k", text("Decimal"), ONE),
    "Fraction of nothing": listed(b"k", text("Fraction"), ONE, ZERO),
    "Fraction of very large numbers": listed(
        b"k", text("Fraction"), *[b"I" + struct.pack("<I", 100_000) + bytes(99_999) + b"\x01"] * 2
    ),
    "UUID of two bytes": listed(b"k", text("UUID"), b"b\x02\0\0\0ab"),
    "time zone of two days": listed(
        b"k", text("timezone"), listed(b"k", text("timedelta"), b"i\x02" + bytes(7), ZERO, ZERO)
    ),
    "values 100,000 deep": b"k\x01\0\0\0" * 100_000,
    "space that is a number": b"S" + ONE,
    "space without a kind": b"Sd\0\0\0\0",
    "space of 2**40": b"S" + HUGE_BOX,
    "spaces 100,000 deep": b"S" * 100_000,
    "class whose names are a range": b"C" + enum_class(A, names=ENDLESS),
    "class whose members are a range": b"C"
    + definition(*map(text, ("enum", "os", "X", "Enum")), b"N", ENDLESS, ENDLESS),
    "space in the definition of a class": holding(space("MultiBinary", n=ONE, shape=listed(b"t", ONE))),
    "space whose shape is a range": space("Box", shape=ENDLESS),
    "space whose lengths are a range": space("MultiBinary", n=ENDLESS, shape=listed(b"t", ONE)),
    "space whose numbers are a range": space("MultiDiscrete", nvec=ENDLESS, start=ZERO, shape=listed(b"t", ONE)),
    "space whose characters are a range": space("Text", min_length=ZERO, max_length=ONE, charset=ENDLESS),
    "space whose spaces are a range": space("Tuple", spaces=ENDLESS),
    "space of a negative length": space("Box", shape=listed(b"t", b"i" + struct.pack("<q", -5))),
    "space of a text for a length": space("Box", shape=listed(b"t", b"i" + struct.pack("<q", 2**28), text("x"))),
    "space of 1,000 dimensions": space("Box", shape=listed(b"t", *[ONE] * 1000)),
    "space of a number": space("Sequence", feature_space=ONE),
    "objects that each announce the rest": b"".join(objects(200_000) for _ in range(100)) + b"?" * 200_000,
}
