"""Builds Gymnasium's spaces from plain data, with every attribute as in the simulator.

Knows the data that ``gym_service/protocol/space_spec.py`` makes, and Gymnasium 0.29 and newer. Python 3.10 and up.
"""

import inspect
import re
from typing import Any

import numpy as np
from gymnasium import spaces

from gym_service.errors import CannotCross
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.space_spec import largest_value
from gym_service.protocol.values import BadValue, dtype_from

Data = dict[str, Any]
# Dtypes that a space may have although no array crosses with them: values of any length or type.
_OPEN_DTYPE = re.compile(r"\|O|[<>]U0|\|S0|\|V\d{1,8}")


class ForeignSpace(spaces.Space[Any]):
    """Stands for a space of a class that only the simulator has (minigrid's MissionSpace).

    It knows what that space states about its values, and can tell whether a value has the right type. It cannot sample.
    Attributes: ``class_name`` (of the simulator's class), ``text`` (its repr), ``shape``, ``dtype``.
    """

    def __init__(
        self, class_name: str, text: str, dtype: "np.dtype[Any] | None", shape: tuple[int, ...] | None
    ) -> None:
        super().__init__(shape, dtype)
        self.class_name = class_name
        self.text = text

    def contains(self, x: Any) -> bool:
        """Whether the value has the dtype that the space states, and for an array its shape."""
        if self.dtype is not None and self.dtype.kind == "U" and not self.shape:
            return isinstance(x, str)
        array = np.asarray(x)
        of_dtype = self.dtype is None or np.can_cast(array.dtype, self.dtype)
        return of_dtype and (self.shape is None or array.shape == self.shape)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: sampling needs the code of the simulator's class."""
        raise NotImplementedError(f"only the simulator has the class {self.class_name}, so it cannot be sampled here")

    @property
    def is_np_flattenable(self) -> bool:
        """False: the form of its values is only partly known."""
        return False

    def __repr__(self) -> str:
        return f"ForeignSpace({self.text})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForeignSpace) and (self.class_name, self.text) == (other.class_name, other.text)

    def __hash__(self) -> int:
        return hash((self.class_name, self.text))


def space_from(data: Data) -> spaces.Space[Any]:
    """The Gymnasium space that the data describes. Raises KeyError if the kind is unknown.

    Its bounds take as much memory as the data claims: call ``refuse_larger`` first.
    """
    return _KINDS[data["kind"]](data)


def refuse_larger(data: Data, bound_bytes: int) -> None:
    """Raise BadValue for a space whose values fit no message: a server can claim any shape in a few bytes."""
    size_bytes, path = largest_value(data, "$")
    if size_bytes > bound_bytes:
        raise BadValue(f"{path} is a space of {size_bytes} bytes, and a message holds {bound_bytes}")


def _box(data: Data) -> spaces.Box:
    dtype, shape = _dtype(data["dtype"]), data["shape"]
    low, high, below, above = (_full(data[name], shape) for name in ("low", "high", "bounded_below", "bounded_above"))
    try:
        box = spaces.Box(low, high, shape, dtype.type)
    except ValueError:
        # The simulator's library allowed bounds that this Gymnasium refuses (low above high, NaN); they are kept.
        box = spaces.Box(0, 0, shape, dtype.type)
    box.low, box.high, box.bounded_below, box.bounded_above = low, high, below, above
    box.dtype = dtype
    return box


def _full(bound: "np.ndarray[Any, Any]", shape: tuple[int, ...]) -> "np.ndarray[Any, Any]":
    """A bound in the shape of its Box, in its own memory: the received array may be in reused shared memory."""
    if bound.shape == shape:
        return bound.copy()
    if bound.shape:
        raise ValueError("a Box whose bounds have another shape than it has")
    return np.full(shape, bound)


def _discrete(data: Data) -> spaces.Discrete:
    dtype: Any = _dtype(data["dtype"])
    if "dtype" in inspect.signature(spaces.Discrete).parameters:
        return spaces.Discrete(data["n"], start=data["start"], dtype=dtype.type)
    discrete = spaces.Discrete(data["n"], start=data["start"])
    discrete.dtype = dtype
    return discrete


def _multi_discrete(data: Data) -> spaces.MultiDiscrete:
    dtype: Any = _dtype(data["dtype"])
    return spaces.MultiDiscrete(data["nvec"], dtype.type, start=data["start"])


def _multi_binary(data: Data) -> spaces.MultiBinary:
    return spaces.MultiBinary(data["n"])


def _text(data: Data) -> spaces.Text:
    return spaces.Text(data["max_length"], min_length=data["min_length"], charset=data["charset"])


def _tuple(data: Data) -> spaces.Space[Any]:
    return spaces.Tuple([space_from(part) for part in data["spaces"]])


def _dict(data: Data) -> spaces.Dict:
    # Pairs keep their order, which affects the simulator's random numbers. Gymnasium sorts mappings; Gymnasium 1.0
    # sorts even an OrderedDict.
    return spaces.Dict([(key, space_from(part)) for key, part in data["spaces"]])


def _sequence(data: Data) -> spaces.Sequence:
    return spaces.Sequence(space_from(data["feature_space"]), stack=data["stack"])


def _graph(data: Data) -> spaces.Graph:
    edge_space = data["edge_space"]
    return spaces.Graph(space_from(data["node_space"]), None if edge_space is None else space_from(edge_space))


def _one_of(data: Data) -> spaces.Space[Any]:
    one_of = getattr(spaces, "OneOf", None)  # new in Gymnasium 1.0
    if one_of is None:
        raise CannotCross("a OneOf space needs gymnasium 1.0 or newer on this side too", type_name="OneOf")
    return one_of([space_from(part) for part in data["spaces"]])


def _foreign(data: Data) -> ForeignSpace:
    dtype = None if data["dtype"] is None else _dtype(data["dtype"])
    return ForeignSpace(data["class_name"], data["text"], dtype, data["shape"])


def _dtype(text: str) -> "np.dtype[Any]":
    """The dtype of a space. Raises BadValue if it is not allowed: numpy would parse and partly evaluate any text."""
    dtype = np.dtype(text) if _OPEN_DTYPE.fullmatch(text) else dtype_from(text)
    if dtype is None:
        raise BadValue(f"not the dtype of a space: {text!r}")
    return dtype


_KINDS = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Text": _text,
    "Tuple": _tuple,
    "Dict": _dict,
    "Sequence": _sequence,
    "Graph": _graph,
    "OneOf": _one_of,
    "Foreign": _foreign,
}


ValueDecoder.space_from = staticmethod(space_from)
