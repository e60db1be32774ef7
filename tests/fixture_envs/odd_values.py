"""Values that a simulator may return against its own spaces, for both sides of a test. Needs only numpy."""

import numpy as np

OBSERVATIONS = {
    "another dtype": lambda: {"x": np.arange(3, dtype=np.float64), "count": 1},
    "another shape": lambda: {"x": np.zeros((2, 3), np.float32), "count": 1},
    "another byte order": lambda: {"x": np.arange(3, dtype=">f4"), "count": 1},
    "None": lambda: None,
    "a list": lambda: [1.5, None, [np.int8(3)]],
    "a tuple": lambda: (np.zeros(3, np.float32), 1),
    "a list for an array": lambda: {"x": [0.0, 1.0, 2.0], "count": 1},
    "a key too few": lambda: {"x": np.zeros(3, np.float32)},
    "a key too many": lambda: {"x": np.zeros(3, np.float32), "count": 1, "y": b"more"},
    "another order": lambda: {"count": 1, "x": np.zeros(3, np.float32)},
    "None inside": lambda: {"x": None, "count": 1},
    "a bool for an int": lambda: {"x": np.zeros(3, np.float32), "count": True},
    "an int out of range": lambda: {"x": np.zeros(3, np.float32), "count": 2**70},
    "another integer type": lambda: {"x": np.zeros(3, np.float32), "count": np.uint8(1)},
    "not an array": lambda: {"x": np.float32(1), "count": 1},
    "no dimension": lambda: {"x": np.array(1, np.float32), "count": 1},
    "an empty dict": dict,
}
REWARDS = {
    "an int": lambda: 3,
    "None": lambda: None,
    "an array": lambda: np.array([1.5]),
    "no dimension": lambda: np.array(1.5),
    "float32": lambda: np.float32(0.1),
    "a list": lambda: [1.0, 2.0],
    "a bool": lambda: True,
}


def frames(count, shape):
    """Frames that all differ, and in which all rows differ."""
    rows = np.arange(shape[0], dtype=np.uint64)[:, None, None]
    return [np.broadcast_to((rows * 7 + index * 13) % 251, shape).astype(np.uint8) for index in range(count)]
