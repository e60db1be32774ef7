"""Usual steps of a trace: the same digest and the same file as in the general way, or left to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gym_service.protocol.value_digest import RollingDigest
from gym_service.traces import usual_steps
from gym_service.traces.trace_file import TraceWriter
from gym_service.traces.usual_steps import UsualSteps

FLOATS = np.array([0.5, -0.0, np.nan, np.inf], np.float32)
USUAL: list[tuple[Any, Any]] = [
    (0, (FLOATS, 1.0, False, False, {})),
    (-(2**63), (FLOATS, 1.0, True, False, {})),
    (np.int64(3), (FLOATS[:3], -0.0, False, True, {})),
    (np.uint8(200), (FLOATS[:0], float("nan"), True, True, {})),
    (np.zeros(2, np.float32), (np.array(2.5), np.float64(1e-300), np.True_, np.False_, {})),
    (np.zeros((2, 3))[:, ::2], (np.arange(12).reshape(3, 4).T, 1.0, False, np.False_, {})),
    (np.array(True), (np.zeros(7, ">f8") + 1, 0.1, False, False, {})),
    (np.zeros(1), (np.zeros((2, 2), np.complex64), 0.1, False, False, {})),
    (np.zeros(3, np.float16), (np.zeros(4096, np.uint8), 0.1, False, False, {})),
    (0, (np.arange(11, dtype=np.uint8), 0.1, False, False, {})),  # 32 canonical bytes, which a summary still holds
    (0, (np.arange(12, dtype=np.uint8), 0.1, False, False, {})),
]
OTHER: list[tuple[Any, Any]] = [
    (True, (FLOATS, 1.0, False, False, {})),
    (2**63, (FLOATS, 1.0, False, False, {})),
    (None, (FLOATS, 1.0, False, False, {})),
    (np.float32(1), (FLOATS, 1.0, False, False, {})),
    ({"a": 1}, (FLOATS, 1.0, False, False, {})),
    (np.zeros(0), (FLOATS, 1.0, False, False, {})),
    (np.zeros(9000), (FLOATS, 1.0, False, False, {})),
    (np.array(["x", None]), (FLOATS, 1.0, False, False, {})),
    (np.zeros(2, np.longdouble), (FLOATS, 1.0, False, False, {})),
    (0, (FLOATS, 1, False, False, {})),
    (0, (FLOATS, np.float32(1), False, False, {})),
    (0, (FLOATS, None, False, False, {})),
    (0, (FLOATS, 1.0, 0, False, {})),
    (0, (FLOATS, 1.0, False, None, {})),
    (0, (FLOATS, 1.0, False, False, {"seen": 1})),
    (0, (FLOATS, 1.0, False, False, None)),
    (0, (FLOATS.tolist(), 1.0, False, False, {})),
    (0, (np.ma.masked_array(FLOATS), 1.0, False, False, {})),
    (0, (np.array(["x"]), 1.0, False, False, {})),
    (0, (np.array([None]), 1.0, False, False, {})),
    (0, (np.zeros(4097, np.uint8), 1.0, False, False, {})),
    (0, (np.zeros(2, [("x", "f4")]), 1.0, False, False, {})),
    (0, (np.zeros(2, "M8[s]"), 1.0, False, False, {})),
    (0, (np.zeros(2, np.longdouble), 1.0, False, False, {})),
    (0, (FLOATS, 1.0, False, False)),
    (0, [FLOATS, 1.0, False, False, {}]),
]


def recorded(path: Path, steps: list[tuple[Any, Any]], *, usual: bool) -> tuple[list[bool], bytes, bytes]:
    """Which steps were usual, the digest, and the content of the file."""
    digest, writer = RollingDigest(), TraceWriter(path, {"env": "x"})
    fast, were_usual = UsualSteps(digest, writer), []
    for action, result in steps:
        is_added = usual and fast.add(action, result)
        if not is_added:
            writer.write("step", (action,), digest.add(b"step", result))
        were_usual.append(is_added)
    writer.finish({})
    return were_usual, digest.value, path.read_bytes()


def test_the_digest_and_the_file_are_those_of_the_general_way(tmp_path: Path) -> None:
    # Again in another order, once every form is known.
    steps = [*USUAL, *OTHER, *reversed(OTHER), *reversed(USUAL)]
    were_usual, *fast = recorded(tmp_path / "fast", steps, usual=True)
    _, *general = recorded(tmp_path / "general", steps, usual=False)
    assert fast == general
    expected = [True] * len(USUAL) + [False] * len(OTHER)
    assert were_usual == expected + expected[::-1]


@pytest.mark.parametrize("what", ["observation", "action"])
def test_values_that_change_their_shape_do_not_grow_the_tables(tmp_path: Path, what: str) -> None:
    count = usual_steps.MOST_FORMS + 20
    arrays = [np.zeros(size + 1) for size in range(count)]
    steps: list[tuple[Any, Any]] = [
        (0, (array, 1.0, False, False, {})) if what == "observation" else (array, (FLOATS, 1.0, False, False, {}))
        for array in arrays
    ]
    were_usual, *fast = recorded(tmp_path / "fast", steps, usual=True)
    _, *general = recorded(tmp_path / "general", steps, usual=False)
    assert fast == general
    assert were_usual == [True] * usual_steps.MOST_FORMS + [False] * 20
