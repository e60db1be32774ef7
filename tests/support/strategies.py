"""Hypothesis strategies for every value that may cross: nested, of all dtypes, in any memory order. Python 3.10."""

from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gym_service.protocol.values import Opaque

DATE_UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
NUMBERS = ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
UNITS = ["", *(f"[{count}{unit}]" for unit in DATE_UNITS for count in ("", "7"))]
DTYPES = st.sampled_from(
    ["|b1", "|i1", "|u1", "|S1", "|S9", np.dtype(np.longdouble).str, np.dtype(np.clongdouble).str]
    + [order + code for order in "<>" for code in (*NUMBERS, "U1", "U7")]
    + [f"{order}{kind}8{unit}" for order in "<>" for kind in "mM" for unit in UNITS]
).map(np.dtype)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays of any dtype and bits (also NaN payloads and NaT), small or large, in any memory order."""
    dtype, shape = draw(DTYPES), draw(SHAPES | st.sampled_from([(12288,), (120, 120), (0, 2**40)]))
    count = int(np.prod(shape, dtype=object))
    if dtype.kind in "UbgG" or (dtype.itemsize > 8 and dtype.kind in "fc"):
        elements = np.array(draw(st.lists(hnp.from_dtype(np.dtype(dtype.char)), min_size=1, max_size=5)), dtype)
        flat = np.resize(elements, count)
    else:
        content = draw(st.binary(min_size=dtype.itemsize, max_size=64 * dtype.itemsize))
        content = content[: len(content) // dtype.itemsize * dtype.itemsize]
        flat = np.resize(np.frombuffer(content, dtype), count)
    array = flat.astype(dtype).reshape(shape)
    turned = {"C": array, "F": np.asfortranarray(array), "reversed": array[::-1] if shape else array, "T": array.T}
    return turned[draw(st.sampled_from(sorted(turned)))]


FLOATS = st.floats() | st.binary(min_size=8, max_size=8).map(lambda bits: np.frombuffer(bits, "<f8")[0].item())
TEXTS = st.text(st.characters(codec=None, exclude_categories=()))
SCALARS = arrays().filter(lambda a: a.size and a.dtype.kind not in "SU").map(lambda a: a.ravel()[0])
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | FLOATS
    | st.builds(complex, FLOATS, FLOATS)
    | TEXTS
    | st.binary()
    | TEXTS.map(np.str_)
    | st.binary().map(np.bytes_)
    | st.builds(Opaque, TEXTS, TEXTS)
)
# As keys, numpy's NaT and NaN, and True beside 1, are not distinct in a stable way in sets and dicts.
KEYS = st.recursive(
    st.none() | st.integers() | TEXTS | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.lists(inner, max_size=4).map(object_array)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.builds(GraphInstance, inner, inner, inner)
    )


def object_array(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array.reshape(2, -1) if len(items) == 4 else array


VALUES = st.recursive(ATOMS | SCALARS | arrays(), containers, max_leaves=12)
