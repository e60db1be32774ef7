"""The one list of awkward spaces that whole test modules are parametrised over."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text, Tuple

INF = np.inf


def boxes_of_every_dtype() -> dict[str, spaces.Space[Any]]:
    found: dict[str, spaces.Space[Any]] = {"box of bool": Box(0, 1, (3,), np.bool_)}
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64):
        # Gymnasium cannot sample beyond int64.
        high = min(np.iinfo(dtype).max, 2**63 - 2)
        found[f"box of {dtype.__name__}"] = Box(np.iinfo(dtype).min, high, (2,), dtype)
    for dtype in (np.float16, np.float32, np.float64):
        found[f"box of {dtype.__name__}"] = Box(-1.5, 1.5, (2, 2), dtype)
    found["box of longdouble"] = Box(-1.5, 1.5, (2, 2), np.longdouble)
    return found


def of_one(*options: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    one_of = getattr(spaces, "OneOf", None)  # new in Gymnasium 1.0
    return {"one of": one_of(options)} if one_of else {}


def dict_in_order(*items: tuple[Any, spaces.Space[Any]]) -> Dict:
    return Dict(list(items))  # a dict would be sorted


def image() -> Box:
    """A new space each time: spaces that share one also share its generator, which a description does not show."""
    return Box(0, 255, (96, 96, 3), np.uint8)


def position() -> Box:
    return Box(-1, 1, (4,), np.float32)


# Spaces that Gymnasium cannot sample: its generator has no long doubles.
CANNOT_SAMPLE = {"box of longdouble"}

SPACES: dict[str, spaces.Space[Any]] = {
    **boxes_of_every_dtype(),
    "box without dimensions": Box(-1, 1, (), np.float64),
    "unbounded box": Box(-INF, INF, (2,), np.float32),
    "box bounded below": Box(0, INF, (2,), np.float64),
    "box bounded above": Box(-INF, 0, (2,), np.float64),
    "box bounded here and there": Box(np.array([-INF, 0, -INF, 2]), np.array([INF, INF, 1, 3]), dtype=np.float64),
    "int box with infinite sides": Box(-INF, INF, (2,), np.int32),
    "int box with an infinite side": Box(np.array([-INF, 3]), np.array([4, INF]), dtype=np.int16),
    "box of one point": Box(2, 2, (1,), np.float32),
    "image": image(),
    "huge image": Box(0, 255, (480, 640, 3), np.uint8),
    "box just large": Box(-1, 1, (1024,), np.float32),
    "box just small": Box(-1, 1, (1023,), np.float32),
    "empty box": Box(-1, 1, (0,), np.float32),
    "empty box of two dimensions": Box(-1, 1, (3, 0), np.float64),
    "discrete": Discrete(5),
    "discrete of one": Discrete(1),
    "discrete with start": Discrete(3, start=-7),
    "discrete with a large start": Discrete(10, start=2**62),
    "multi discrete": MultiDiscrete([5, 1, 3]),
    "multi discrete of two dimensions": MultiDiscrete(np.array([[1, 2, 3], [4, 5, 6]])),
    "multi discrete with start": MultiDiscrete([[3, 4]], np.int32, start=[[-2, 10]]),
    "multi binary": MultiBinary(8),
    "multi binary of one dimension": MultiBinary((3,)),
    "multi binary of many dimensions": MultiBinary([2, 3, 4]),
    "text": Text(5),
    "text with its own characters": Text(12, min_length=3, charset="zyxé😀 \n"),
    "text with a set of characters": Text(4, charset=frozenset("abc")),
    "tuple": Tuple([Discrete(2), position()]),
    "empty tuple": Tuple([]),
    "dict": Dict(b=Discrete(2), a=position()),
    "unsorted dict": dict_in_order(("z", position()), ("a", Discrete(4)), ("m", MultiBinary(2))),
    "dict with int keys": dict_in_order((10, Discrete(2)), (-1, position())),
    "dict with mixed keys": dict_in_order(("one", Discrete(2)), (1, Discrete(3)), ((1, "t"), Discrete(4))),
    "empty dict": Dict(),
    "dict with an image": dict_in_order(
        ("state", position()), ("pixels", image()), ("wrist", image()), ("t", Discrete(9))
    ),
    "sequence": Sequence(Box(0, 1, (2,), np.float64)),
    "stacked sequence": Sequence(Box(0, 1, (2,), np.float64), stack=True),
    "sequence of dicts": Sequence(dict_in_order(("b", Discrete(2)), ("a", position())), stack=True),
    "graph": Graph(Box(-1, 1, (3,)), None),
    "graph with edges": Graph(Box(-1, 1, (3,)), Discrete(4)),
    **of_one(Discrete(3), position(), Tuple([Discrete(2)])),
    "nested": Dict(
        inner=Tuple([Dict({"z": Discrete(3, start=1), "b": image()}), MultiDiscrete([2, 2]), Tuple([Box(0, 1, ())])])
    ),
    "nested without a fixed size": Tuple([Dict(goal=Text(3), seen=Sequence(Discrete(2))), Discrete(2)]),
}
if "dtype" in Discrete.__init__.__code__.co_varnames:  # Gymnasium 1.2 and newer
    for _dtype in (np.int8, np.int32, np.uint8, np.uint16, np.uint64):
        SPACES[f"discrete of {_dtype.__name__}"] = Discrete(7, start=3, dtype=_dtype)
