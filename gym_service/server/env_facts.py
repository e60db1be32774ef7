"""The facts of an env that the client has, and which have changed since: spaces, metadata and render mode.

Knows adapters, and spaces by their attributes. Never knows the wire. Python 3.6 and up.

Simulators change their spaces while they run: highway-env's ``configure()`` does, and so do envs whose space is known
only after the first reset. The server checks them after reset, call and set, and never after a step. An identical
object counts as unchanged, except after a reset: then its content is compared.
"""

import functools
import marshal

import numpy as np

from gym_service.protocol.encoder import Encoder
from gym_service.protocol.space_spec import describe

SPACES = ("observation_space", "action_space")
# Larger arrays of bounds are compared by identity: comparing their content takes too long.
LARGEST_COMPARED_BYTES = 2**20


class EnvFacts:
    """Remembers the facts of an adapter's env as the client has them, starting from its description."""

    def __init__(self, adapter):
        self._adapter = adapter
        self._spaces = {name: getattr(adapter.env, name, None) for name in SPACES}
        self._contents = {name: content_of(space) for name, space in self._spaces.items()}
        self._others = {name: _encoded(value) for name, value in self._now().items()}
        self._seen = self._spaces, self._contents, self._others

    def changes(self, after_reset):
        """The facts that have changed, in the form of the env's description; empty if none has.

        They count as sent only after ``told()``, since describing or sending them may fail.
        """
        changed, spaces, contents, others = {}, dict(self._spaces), dict(self._contents), dict(self._others)
        for name in SPACES:
            space = getattr(self._adapter.env, name, None)
            if space is self._spaces[name] and not after_reset:
                continue
            content = content_of(space)
            if content != self._contents[name]:
                changed[name] = None if space is None else describe(space, "$." + name)
            spaces[name], contents[name] = space, content
        for name, value in self._now().items():
            encoded = _encoded(value)
            if encoded != self._others[name]:
                changed[name], others[name] = value, encoded
        self._seen = spaces, contents, others
        return changed

    def told(self):
        """The client now has the changes that the last ``changes()`` found."""
        self._spaces, self._contents, self._others = self._seen

    def _now(self):
        return {"metadata": self._adapter.metadata(), "render_mode": self._adapter.current_render_mode()}


def content_of(space):
    """A value that is equal for two spaces whose attributes are equal."""
    kind = _kind_of(type(space))
    if kind is None:
        return (type(space).__name__, id(space))  # EnvFacts keeps the space alive, so no other object can get this id
    return (kind, *_CONTENTS[kind](space))


@functools.lru_cache(maxsize=None)
def _kind_of(cls):
    """The name of the library's class of space that a class derives from; None for any other."""
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ("gym", "gymnasium") and base.__name__ in _CONTENTS:
            return base.__name__
    return None


def _array(array):
    if getattr(array, "nbytes", 0) > LARGEST_COMPARED_BYTES:
        return (id(array),)
    return array.dtype.str, array.shape, array.tobytes()


def _dtype(space):
    dtype = space.dtype
    return dtype.str if isinstance(dtype, np.dtype) else str(dtype)


def _box(space):
    return _dtype(space), tuple(space.shape), _array(space.low), _array(space.high)


def _discrete(space):
    return _dtype(space), int(space.n), int(getattr(space, "start", 0))


def _multi_discrete(space):
    return _dtype(space), _array(space.nvec), _array(getattr(space, "start", space.nvec))


def _multi_binary(space):
    return _dtype(space), str(space.n), tuple(space.shape)


def _tuple(space):
    return tuple(content_of(part) for part in space.spaces)


def _dict(space):
    return tuple((key, content_of(part)) for key, part in space.spaces.items())


_CONTENTS = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Tuple": _tuple,
    "Dict": _dict,
    "OneOf": _tuple,
}


def _encoded(value):
    """Bytes that are equal for two values only if these have the same types and content."""
    try:
        data = marshal.dumps(value, 2)  # a tenth of the time; in this version the bytes depend on nothing but the value
    except ValueError:  # it is no plain data, or has no end
        data = None
    if data is not None and _is_plain(value):
        return data
    encoder = Encoder().add(value, opaque=True)
    return bytes(encoder.head), [buffer.tobytes() for buffer in encoder.buffers]


def _is_plain(value):
    """Whether it consists of Python's own types only: of an array, marshal writes the bytes without the dtype."""
    cls = type(value)
    if cls in _PLAIN:
        return True
    if cls is dict:
        return _PLAIN.issuperset(map(type, value)) and all(map(_is_plain, value.values()))
    return cls in (list, tuple) and (_PLAIN.issuperset(map(type, value)) or all(map(_is_plain, value)))


_PLAIN = {bool, bytes, float, int, str, type(None)}
