"""The layout of a result: what one result consists of, as plain data, and the byte plan for others like it.

Knows arrays, numbers and constants in dicts and tuples, and arrays of the frameworks. Never knows an env or a socket.
Python 3.6 and up; runs on both sides. ``result_forms.py`` says when such layouts are made.

As in ``layout.py`` only the exact type, dtype, shape and key order fit. A str fits only if it equals the first one. The
plain data has the words of ``space_spec.py``: a Box for an array, Dict and Tuple, and kinds of its own beside them.
"""

import itertools
import struct

import numpy as np

from gym_service.protocol.array_likes import (
    BFLOAT16,
    FRAMEWORK,
    FRAMEWORKS,
    float32_of,
    framework_of,
    label_of,
    to_numpy,
)
from gym_service.protocol.interrupts import is_from_handler
from gym_service.protocol.layout import DICTS, Plan, compiled
from gym_service.protocol.values import BadValue, dtype_from, dtype_text

# A longer text seldom stays the same from step to step.
MAX_TEXT_CHARS = 200
# Values of more parts, or nested deeper, have no form: to tell and compile it would take longer than many steps.
MAX_PARTS, MAX_NESTING = 1000, 16
_FRAMEWORKS = frozenset(FRAMEWORKS.values())
# numpy's scalars whose bytes are the value, and nothing else.
_SCALARS = {cls: np.dtype(cls) for cls in (np.dtype(code).type for code in "?bBhHiIlLqQefdFD")}
# By numpy's name of a dtype, the letter of struct for the same bytes. Not float32: struct makes it of a double.
_LETTERS = {
    "|b1": "?", "|i1": "b", "|u1": "B", "<i2": "h", "<u2": "H",
    "<i4": "i", "<u4": "I", "<i8": "q", "<u8": "Q", "<f8": "d",
}  # fmt: skip


def spec_of(value):
    """What such values consist of, as plain data; None if they have no form.

    Raises what a value of a framework raises.
    """
    return _Spec().of(value, 0)


class _Spec:
    """Counts the parts of one value while its spec is made."""

    def __init__(self):
        self._left = MAX_PARTS

    def of(self, value, nesting):
        self._left -= 1
        if self._left < 0 or nesting > MAX_NESTING:
            return None
        cls = type(value)
        if cls is tuple:
            parts = self._of_each(value, nesting)
            return None if parts is None else {"kind": "Tuple", "spaces": parts}
        if cls is dict and all(type(key) is str and len(key) <= MAX_TEXT_CHARS for key in value):
            parts = self._of_each(value.values(), nesting)
            return None if parts is None else {"kind": "Dict", "spaces": list(zip(value, parts))}
        return _leaf_spec(value)

    def _of_each(self, values, nesting):
        specs = []
        for value in values:
            spec = self.of(value, nesting + 1)
            if spec is None:
                return None
            specs.append(spec)
        return specs


def _leaf_spec(value):
    cls = type(value)
    if cls is np.ndarray:
        dtype = dtype_text(value.dtype)
        return None if dtype is None else {"kind": "Box", "dtype": dtype.decode("ascii"), "shape": value.shape}
    if cls in _NUMBERS:
        return {"kind": _NUMBERS[cls].kind}
    if cls in _SCALARS:
        dtype = _SCALARS[cls].str
        return {"kind": "scalar", "dtype": dtype} if np.dtype(dtype).type is cls else None  # longlong has int64's
    if value is None or (cls is str and len(value) <= MAX_TEXT_CHARS):
        return {"kind": "constant", "value": value}
    return _framework_array_spec(value) if framework_of(cls) in _FRAMEWORKS else None


def _framework_array_spec(value):
    array, flags = to_numpy(value)
    spec = _leaf_spec(array) if type(array) is np.ndarray else None
    return None if spec is None else {"kind": "framework", "array": spec, "label": label_of(value), "flags": flags}


def compile_form(spec, version, arrays=None):
    """The Layout of values that consist of this. ``arrays`` is as for ``ValueDecoder``. Raises BadValue."""
    form = compiled(_FormPlan(arrays), spec, version=version)
    if form is None:
        raise BadValue("not what a result consists of")
    return form


class _FormPlan(Plan):
    def __init__(self, arrays):
        super().__init__(_KINDS)
        self._arrays = arrays
        self._parts = 0

    def add(self, space):
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadValue("a form of more than %d parts" % MAX_PARTS)
        return super().add(space)

    def add_dict(self, space):
        node = super().add_dict(space)
        return node if node is None else _NumberDict.of(node) or node

    def add_number(self, spec):
        number = _NUMBERS_BY_KIND[spec["kind"]]
        return number(self.take(number.form.size))

    def add_scalar(self, spec):
        dtype = dtype_from(spec["dtype"])
        return None if dtype is None or dtype.type not in _SCALARS else _Scalar(dtype, self.take(dtype.itemsize))

    def add_constant(self, spec):
        value = spec["value"]
        return _Constant(value) if value is None or type(value) is str else None

    def add_framework_array(self, spec):
        array, label, flags = spec["array"], spec["label"], spec["flags"]
        if array["kind"] != "Box" or type(label) is not str or flags not in (FRAMEWORK, FRAMEWORK | BFLOAT16):
            return None
        node = self.add_array(array)
        if node is None or (flags & BFLOAT16 and node.dtype != np.uint16):
            return None
        return _FrameworkArray(node, label, flags, self._arrays)


_KINDS = {
    "Box": Plan.add_array,
    "Tuple": Plan.add_tuple,
    "Dict": _FormPlan.add_dict,
    "float": _FormPlan.add_number,
    "int": _FormPlan.add_number,
    "bool": _FormPlan.add_number,
    "scalar": _FormPlan.add_scalar,
    "constant": _FormPlan.add_constant,
    "framework": _FormPlan.add_framework_array,
}


class _Number:
    """A number of Python's own. A subclass knows the kind, and the form of its bytes and the letter of that."""

    kind, letter, form = "", "", struct.Struct("<")

    def __init__(self, at):
        self.at = at

    def unpack(self, head, start, buffers):
        return self.form.unpack_from(head, start + self.at)[0]

    def reader(self, memory, start):
        unpack, at = self.form.unpack_from, start + self.at
        return lambda: unpack(memory, at)[0]


class _Float(_Number):
    type, kind, letter, form = float, "float", "d", struct.Struct("<d")

    def pack(self, value, head, buffers):
        if type(value) is not float:
            return False
        head += self.form.pack(value)
        return True


class _Int(_Number):
    type, kind, letter, form = int, "int", "q", struct.Struct("<q")

    def pack(self, value, head, buffers):
        if type(value) is not int or not -(2**63) <= value < 2**63:
            return False
        head += self.form.pack(value)
        return True


class _Bool(_Number):
    type, kind, letter, form = bool, "bool", "?", struct.Struct("<?")

    def pack(self, value, head, buffers):
        if type(value) is not bool:
            return False
        head.append(value)
        return True


_NUMBERS = {number.type: number for number in (_Float, _Int, _Bool)}
_NUMBERS_BY_KIND = {number.kind: number for number in _NUMBERS.values()}


class _Scalar:
    def __init__(self, dtype, at):
        self.dtype, self.type, self.at = dtype, dtype.type, at

    def pack(self, value, head, buffers):
        if type(value) is not self.type:
            return False
        head += value.tobytes()
        return True

    def unpack(self, head, start, buffers):
        return np.ndarray((), self.dtype, head, start + self.at)[()]

    def reader(self, memory, start):
        array = np.ndarray((), self.dtype, memory, start + self.at)
        return lambda: array[()]


class _NumberDict:
    """A dict of numbers alone, as most infos are: all of them are packed by one call of struct, into the same bytes."""

    def __init__(self, keys, letters, types, at):
        self.keys, self.types, self.at = keys, types, at
        self.form = struct.Struct("<" + letters)
        self.key_types = [str] * len(keys)
        # For the numbers that are numpy's: the key, and the type.
        self.of_numpy = [(key, cls) for key, cls in zip(keys, types) if cls not in _NUMBERS]

    @classmethod
    def of(cls, node):
        """The same as a dict's node; None if it has other parts than numbers."""
        parts = list(node.nodes.values())
        letters = [_letter_of(part) for part in parts]
        if not letters or None in letters:
            return None
        ends = itertools.accumulate([parts[0].at] + [struct.calcsize("<" + letter) for letter in letters])
        if [part.at for part in parts] != list(ends)[:-1]:
            return None  # a peer has named a key twice
        return cls(node.keys, "".join(letters), [part.type for part in parts], parts[0].at)

    def pack(self, value, head, buffers):
        if type(value) not in DICTS or list(value) != self.keys or list(map(type, value)) != self.key_types:
            return False
        numbers = value.values()
        if list(map(type, numbers)) != self.types:
            return False
        try:
            head += self.form.pack(*numbers)
        except struct.error as error:  # an int that is too large
            if error.__traceback__.tb_next is not None:
                raise  # raised by a signal handler
            return False
        return True

    def unpack(self, head, start, buffers):
        return self._made(self.form.unpack_from(head, start + self.at))

    def reader(self, memory, start):
        unpack, at, made = self.form.unpack_from, start + self.at, self._made
        return lambda: made(unpack(memory, at))

    def _made(self, numbers):
        value = dict(zip(self.keys, numbers))
        for key, cls in self.of_numpy:
            value[key] = cls(value[key])
        return value


def _letter_of(node):
    """The letter of struct for a node that is one number; None for any other."""
    if isinstance(node, _Number):
        return node.letter
    return _LETTERS.get(node.dtype.str) if isinstance(node, _Scalar) else None


class _Constant:
    def __init__(self, value):
        self.value, self.type = value, type(value)

    def pack(self, value, head, buffers):
        return type(value) is self.type and value == self.value

    def unpack(self, head, start, buffers):
        return self.value

    def reader(self, memory, start):
        return lambda: self.value


class _FrameworkArray:
    """An array of a framework: the numpy array that it becomes, and what it was."""

    def __init__(self, node, label, flags, arrays):
        self.node, self.label, self.flags, self.arrays = node, label, flags, arrays
        self.last_class_and_device = None, None  # of the last array that had the label
        # Whether numpy can take such tensors as they are; False after the first that it cannot take.
        self.shares_memory = label == "torch cpu" and flags == FRAMEWORK

    def pack(self, value, head, buffers):
        try:
            if not self._has_label(value):
                return False
            array, flags = self._to_numpy(value)
        except Exception as error:  # a simulator's value may raise anything
            if is_from_handler(error):
                raise
            return False
        return flags == self.flags and self.node.pack(array, head, buffers)

    def _to_numpy(self, value):
        if self.shares_memory:
            try:
                return value.numpy(), FRAMEWORK
            except (RuntimeError, TypeError) as error:  # it has a gradient, or is a lazy view
                if is_from_handler(error):
                    raise
                self.shares_memory = False
        return to_numpy(value)

    def _has_label(self, value):
        cls, (known, device) = type(value), self.last_class_and_device
        if cls is known and device is not None and value.device == device:
            return True
        if framework_of(cls) not in _FRAMEWORKS or label_of(value) != self.label:
            return False
        self.last_class_and_device = cls, getattr(value, "device", None) if self.label.startswith("torch ") else None
        return True

    def unpack(self, head, start, buffers):
        return self._made(self.node.unpack(head, start, buffers))

    def reader(self, memory, start):
        read = self.node.reader(memory, start)
        return lambda: self._made(read())

    def _made(self, array):
        if self.arrays is not None:
            return self.arrays(array, self.label, self.flags)
        return float32_of(array) if self.flags & BFLOAT16 else array
