"""The byte plan of a space: the position of each leaf, compiled once on each side from the same plain data.

Knows spaces as plain data (``space_spec.py``) and numpy. Never knows Gymnasium, an env or a socket. Python 3.6 and up;
runs on both sides.

A layout fits only the exact type, dtype, shape and key order, so a value comes back as it was. Anything else is not an
error: ``pack`` returns False and the value takes the general path, so that a user sees exactly what the env returned.
Spaces whose values have no fixed size (Text, Sequence, Graph, OneOf, unknown ones) have no layout.
"""

import struct
from collections import OrderedDict

import numpy as np

from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import LARGE_BYTES, MAX_DIMENSIONS, BadValue, dtype_from, element_count

# No simulator has larger observations. The decoder's bound grows with the layouts, and a space that an unknown peer
# describes must not raise it without a limit.
MAX_LAYOUT_BYTES = 2**31
STAMP = struct.Struct("<H")


def compile_layout(space, count=None, version=0):
    """The Layout of a space given as plain data, or None if its values have no fixed size.

    With ``count``, the Layout of so many values batched as Gymnasium does: each leaf is an array (count, …).
    ``version`` counts how often the space has changed since the env was made. Raises BadValue if the data is not a
    space.
    """
    return compiled(Plan(_KINDS), space, count, version)


def compiled(plan, space, count=None, version=0):
    """As ``compile_layout``, with a Plan of one's own."""
    try:
        node = plan.add(space if count is None else batched(space, count))
    except (LookupError, TypeError, ValueError) as error:
        if is_foreign(error):
            raise
        raise BadValue("not a layout: %s" % error) from error
    if node is None or plan.head_bytes + sum(plan.buffer_bytes) > MAX_LAYOUT_BYTES:
        return None
    return Layout(node, plan, version)


def batched(space, count):
    """The space of ``count`` batched values. A space whose values have no fixed size stays as it is."""
    kind = space["kind"]
    if kind == "Tuple":
        return dict(space, spaces=[batched(part, count) for part in space["spaces"]])
    if kind == "Dict":
        return dict(space, spaces=[(key, batched(part, count)) for key, part in space["spaces"]])
    if kind == "Discrete":
        return {"kind": "Box", "dtype": space["dtype"], "shape": (count,)}
    if kind in ("Box", "MultiDiscrete", "MultiBinary"):
        return {"kind": "Box", "dtype": space["dtype"], "shape": (count, *space["shape"])}
    return space


def rows(value, count):
    """The ``count`` values in a batched one, as Gymnasium's ``iterate`` returns them."""
    if type(value) is dict:
        columns = [rows(part, count) for part in value.values()]
        return [dict(zip(value, [column[index] for column in columns])) for index in range(count)]
    if type(value) is tuple:
        columns = [rows(part, count) for part in value]
        return [tuple([column[index] for column in columns]) for index in range(count)]
    return list(value)


class Layout:
    """Packs and unpacks the values of one space.

    ``head_bytes`` are in the head, and ``buffer_count`` arrays of ``buffer_bytes`` each beside it. Every packed message
    names the layout's ``version``; ``stamp`` is the version as bytes.
    """

    def __init__(self, node, plan, version):
        self._node = node
        self.version = version & 0xFFFF
        self.stamp = STAMP.pack(self.version)
        # Appends a value to head and buffers and returns whether it fitted. If not, both hold incomplete data.
        self.pack = node.pack
        # As ``unpack``, but it checks no sizes.
        self.unpack_unchecked = node.unpack
        self.head_bytes = plan.head_bytes
        self.buffer_bytes = tuple(plan.buffer_bytes)
        self.buffer_count = len(plan.buffer_bytes)
        self.size_bytes = plan.head_bytes + sum(plan.buffer_bytes)

    def packer(self, prefix):
        """A function that returns the prefix and the packed value, as bytes; None if the value does not fit.

        None if the value has buffers.
        """
        return None if self.buffer_count else self._node.packer(prefix)

    def unpack(self, head, start, buffers):
        """The value whose bytes begin at ``start`` in the head. Its arrays are new, or are the buffers themselves."""
        if len(head) - start < self.head_bytes or len(buffers) < self.buffer_count:
            raise BadValue("%d bytes and %d buffers are too few for this space" % (len(head) - start, len(buffers)))
        return self._node.unpack(head, start, buffers)

    def reader(self, memory, start):
        """A function that unpacks the value whose bytes begin at ``start`` of this memory, each time it is called.

        None if the value has buffers, or if the memory is too small for it.
        """
        if self.buffer_count or len(memory) - start < self.head_bytes:
            return None
        return self._node.reader(memory, start)


class Plan:
    """The position of the next leaf, while a layout is being compiled."""

    def __init__(self, kinds):
        """``kinds``: by the kind of a space, the function that adds it to this plan and returns its node."""
        self._kinds = kinds
        self.head_bytes = 0
        self.buffer_bytes = []  # of each large leaf

    def add(self, space):
        """The node of a space; None if its values have no fixed size. Raises KeyError, TypeError or ValueError."""
        if type(space) is not dict:
            raise BadValue("not a space: %s" % type(space).__name__)
        add = self._kinds.get(space["kind"])
        return add(self, space) if add else None

    def take(self, size_bytes):
        """Where a leaf of so many bytes lies in the head."""
        self.head_bytes += size_bytes
        return self.head_bytes - size_bytes

    def add_array(self, space):
        dtype, shape = dtype_from(space["dtype"]), tuple(space["shape"])
        if len(shape) > MAX_DIMENSIONS or not all(type(length) is int and length >= 0 for length in shape):
            raise BadValue("not a shape: %r" % (shape,))
        if dtype is None:
            return None  # above all object arrays: their "bytes" are addresses
        if element_count(filter(None, shape)) * dtype.itemsize >= 2**63:
            return None  # numpy has no such array, not even one without elements
        size = element_count(shape) * dtype.itemsize
        if size < LARGE_BYTES:
            return _SmallArray(dtype, shape, self.take(size))
        self.buffer_bytes.append(size)
        return _LargeArray(dtype, shape, len(self.buffer_bytes) - 1)

    def add_integer(self, space):
        dtype = dtype_from(space["dtype"])
        if dtype is None or dtype.kind not in "iu":
            return None
        return _Integer(dtype, self.take(_Integer.form.size))

    def add_tuple(self, space):
        nodes = [self.add(part) for part in space["spaces"]]
        return None if None in nodes else _Tuple(nodes)

    def add_dict(self, space):
        nodes = {key: self.add(part) for key, part in space["spaces"]}
        return None if None in nodes.values() else _Dict(nodes)


_KINDS = {
    "Box": Plan.add_array,
    "MultiBinary": Plan.add_array,
    "MultiDiscrete": Plan.add_array,
    "Discrete": Plan.add_integer,
    "Tuple": Plan.add_tuple,
    "Dict": Plan.add_dict,
}


class _Node:
    """A value, or a part of it."""

    def pack(self, value, head, buffers):
        """Append it, and return whether it fitted."""
        raise NotImplementedError

    def packer(self, prefix):
        """A function that returns the prefix and the packed value, as bytes; None if the value does not fit."""

        def packed(value):
            head = bytearray(prefix)
            return bytes(head) if self.pack(value, head, ()) else None

        return packed


class _SmallArray(_Node):
    def __init__(self, dtype, shape, at):
        self.dtype, self.shape, self.at = dtype, shape, at
        self.size_bytes = element_count(shape) * dtype.itemsize

    def packer(self, prefix):
        array, dtype, shape = np.ndarray, self.dtype, self.shape

        def packed(value):
            if type(value) is array and value.dtype == dtype and value.shape == shape:
                return prefix + value.tobytes()
            return None

        return packed

    def pack(self, value, head, buffers):
        if type(value) is not np.ndarray or value.dtype != self.dtype or value.shape != self.shape:
            return False
        head += value.tobytes()
        return True

    def unpack(self, head, start, buffers):
        if not self.size_bytes:
            return np.empty(self.shape, self.dtype)
        return np.ndarray(self.shape, self.dtype, head, start + self.at).copy()

    def reader(self, memory, start):
        if not self.size_bytes:
            return lambda: np.empty(self.shape, self.dtype)
        return np.ndarray(self.shape, self.dtype, memory, start + self.at).copy


class _LargeArray(_Node):
    def __init__(self, dtype, shape, index):
        self.dtype, self.shape, self.index = dtype, shape, index
        self.size_bytes = element_count(shape) * dtype.itemsize

    def pack(self, value, head, buffers):
        if type(value) is not np.ndarray or value.dtype != self.dtype or value.shape != self.shape:
            return False
        buffers.append(value)
        return True

    def unpack(self, head, start, buffers):
        buffer = buffers[self.index]
        if len(buffer) != self.size_bytes:
            raise BadValue("a buffer of %d bytes where %d were due" % (len(buffer), self.size_bytes))
        return np.ndarray(self.shape, self.dtype, buffer)


class _Integer(_Node):
    """A Discrete's value: simulators return Python's int (FrozenLake) or the space's numpy type, and both are kept."""

    form = struct.Struct("<Bq")

    def __init__(self, dtype, at):
        self.at = at
        self.type = dtype.type
        limits = np.iinfo(dtype)
        self.low, self.high = int(limits.min), int(limits.max)

    def pack(self, value, head, buffers):
        cls = type(value)
        if (cls is not int and cls is not self.type) or not -(2**63) <= value < 2**63:
            return False
        head += self.form.pack(cls is not int, value)
        return True

    def unpack(self, head, start, buffers):
        is_numpy, value = self.form.unpack_from(head, start + self.at)
        if not is_numpy:
            return value
        if not self.low <= value <= self.high:
            raise BadValue("%d is no %s" % (value, self.type.__name__))
        return self.type(value)

    def packer(self, prefix):
        pack, numpy_type = self.form.pack, self.type

        def packed(value):
            cls = type(value)
            if (cls is int or cls is numpy_type) and -(2**63) <= value < 2**63:
                return prefix + pack(cls is not int, value)
            return None

        return packed

    def reader(self, memory, start):
        unpack, at, checked = self.form.unpack_from, start + self.at, self.unpack

        def read():
            is_numpy, value = unpack(memory, at)
            return checked(memory, start, ()) if is_numpy else value

        return read


class _Tuple(_Node):
    def __init__(self, nodes):
        self.nodes = nodes

    def pack(self, value, head, buffers):
        if type(value) is not tuple or len(value) != len(self.nodes):
            return False
        # Loops and lists, since a generator costs each step as much as the arrays do.
        for node, part in zip(self.nodes, value):  # noqa: SIM110
            if not node.pack(part, head, buffers):
                return False
        return True

    def unpack(self, head, start, buffers):
        return tuple([node.unpack(head, start, buffers) for node in self.nodes])

    def reader(self, memory, start):
        readers = [node.reader(memory, start) for node in self.nodes]
        return lambda: tuple([read() for read in readers])


# Before Gymnasium 1.0, Dict.sample() returned an OrderedDict, which crosses as a dict on the general path too.
DICTS = (dict, OrderedDict)


class _Dict(_Node):
    def __init__(self, nodes):
        self.nodes = nodes
        self.keys = list(nodes)
        self.key_types = [type(key) for key in nodes]

    def pack(self, value, head, buffers):
        # Types count too: numpy.str_("a") equals "a" and would come back as a str.
        if type(value) not in DICTS or list(value) != self.keys or [type(key) for key in value] != self.key_types:
            return False
        for key, node in self.nodes.items():  # noqa: SIM110
            if not node.pack(value[key], head, buffers):
                return False
        return True

    def unpack(self, head, start, buffers):
        return {key: node.unpack(head, start, buffers) for key, node in self.nodes.items()}

    def reader(self, memory, start):
        readers = {key: node.reader(memory, start) for key, node in self.nodes.items()}
        return lambda: {key: read() for key, read in readers.items()}
