"""Arrays of other libraries: how one becomes a numpy array on the wire, with a label that says what it was.

Knows DLPack, ``__array__`` and torch's ``.detach().cpu()`` by name. Never imports a framework: the process that holds a
value has loaded it. Never knows a space, an env or a socket. Python 3.6 and up; runs on both sides.

Only the type of a value is examined, since a simulator's object may answer to any name. A value of a framework (torch,
jax, tensorflow, cupy, or any type with ``__dlpack__``) crosses with a label, such as ``torch cuda:0``, so that the
other side can restore its type. If its device is not the CPU, it is copied there.
"""

import sys
import weakref

import numpy as np

from gym_service.protocol.interrupts import is_from_handler
from gym_service.protocol.library_types import FIELDS_INSTEAD
from gym_service.protocol.values import MAX_DIMENSIONS, class_name, dtype_text, module_name, type_name

# The flags of an array on the wire.
FRAMEWORK, BFLOAT16 = 1, 2
# DLPack's names: (device type, is it numbered). Host memory that a GPU can read counts as the CPU's.
_DEVICES = {1: "cpu", 2: "cuda:%d", 3: "cpu", 8: "metal:%d", 10: "rocm:%d", 11: "cpu", 13: "cuda:%d", 14: "oneapi:%d"}
_CPU_DEVICES = (1, 3, 11)
# Frameworks whose arrays lacked DLPack in older versions, with the name of each by the package of its classes.
FRAMEWORKS = {"torch": "torch", "jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow", "cupy": "cupy"}
# The frame stacks of these libraries have only ``__array__``, and are meant to be read with it.
_MEANT_AS_ARRAYS = ("gym", "gymnasium")


class _Facts:
    """The capabilities of a class of array-likes."""

    def __init__(self, cls):
        root = _root_of(cls)
        self.is_tensor = _has(cls, "detach") and _has(cls, "cpu") and _has(cls, "numpy")
        self.has_array, has_dlpack = _has(cls, "__array__"), _has(cls, "__dlpack__")
        # Not numpy's own types: those that have no form on the wire are refused.
        is_numpy = any(base in cls.__mro__ for base in (np.ndarray, np.generic))
        self.is_array_like = not is_numpy and (has_dlpack or self.has_array or self.is_tensor)
        self.framework = FRAMEWORKS.get(root, root if self.is_tensor or has_dlpack else None)
        self.is_meant = self.framework is not None or root in _MEANT_AS_ARRAYS
        self.has_device = _has(cls, "__dlpack_device__")
        self.has_get = self.has_device and _has(cls, "get")


def _root_of(cls):
    """The package that a class comes from; for a subclass of a framework's class, the framework's package."""
    roots = [module_name(base).split(".")[0] for base in cls.__mro__]
    return next((root for root in roots if root in FRAMEWORKS), roots[0])


_facts_by_class = weakref.WeakKeyDictionary()  # type: weakref.WeakKeyDictionary


def _facts(cls):
    found = _facts_by_class.get(cls)
    if found is None:
        found = _facts_by_class[cls] = _Facts(cls)
    return found


def is_known_array_like(cls):
    """Whether a value of this class became an array before. Faster than examining the class."""
    return cls in _facts_by_class and _facts_by_class[cls].is_array_like


def is_array_like(cls):
    """Whether values of this class become arrays."""
    return _facts(cls).is_array_like


def framework_of(cls):
    """The name of the framework that a class of array-likes belongs to; None if it belongs to none."""
    return _facts(cls).framework


def label_of(value):
    """The origin of an array-like: its framework and device, or else its class."""
    facts = _facts(type(value))
    framework = facts.framework
    if framework is None:
        return type_name(value)
    if facts.is_tensor:
        return "%s %s" % (framework, value.device)
    kind, number = _device(value)
    shown = _DEVICES.get(kind, "")
    return " ".join(filter(None, (framework, shown % number if "%" in shown else shown)))


def to_numpy(value):
    """The numpy array of an array-like, and its flags. Raises whatever the value's methods raise.

    It shares memory with a value in the CPU's memory. A bfloat16 array becomes uint16 with the same bits.
    """
    facts = _facts(type(value))
    flags = FRAMEWORK if facts.framework else 0
    if facts.is_tensor:
        found = _from_tensor(value)
    elif facts.has_get and _device(value)[0] not in _CPU_DEVICES:
        found = value.get()  # cupy refuses implicit conversion
    elif facts.has_array:
        found = np.asarray(value)
    else:
        if not hasattr(np, "from_dlpack"):
            raise TypeError("numpy %s cannot read DLPack (1.22 and newer can)" % np.__version__)
        found = np.from_dlpack(value)
    if not isinstance(found, np.ndarray):
        raise TypeError("it became a %s, and no array of numpy's" % type_name(found))
    if is_bfloat16(found.dtype):
        return found.view(np.uint16), flags | BFLOAT16
    if facts.is_tensor and found.dtype == np.uint16 and str(value.dtype).endswith("bfloat16"):
        flags |= BFLOAT16
    return found, flags


def is_bfloat16(dtype):
    """Whether it is the bfloat16 of ml_dtypes, which numpy treats as a void of two bytes."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None and dtype.name == "bfloat16"


def float32_of(bits):
    """The float32 for the bits of a bfloat16, which are its upper half. Exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32) if bits.ndim else _float32_of_one(bits)


def _float32_of_one(bits):
    return float32_of(bits.reshape(1)).reshape(())


def _from_tensor(value):
    plain = value.detach().cpu()
    for name in ("resolve_conj", "resolve_neg"):  # torch's lazy views
        if hasattr(plain, name):
            plain = getattr(plain, name)()
    torch = sys.modules.get("torch")
    if torch is None or str(plain.dtype) != "torch.bfloat16":
        return plain.numpy()
    try:
        return plain.contiguous().view(torch.int16).numpy().view(np.uint16)
    except (TypeError, RuntimeError):  # torch before 1.7 cannot reinterpret the bits
        return plain.float().numpy()


def _device(value):
    """(device type, its number) according to DLPack; (None, 0) if unknown."""
    return value.__dlpack_device__() if _facts(type(value)).has_device else (None, 0)


def _has(cls, name):
    return any(name in base.__dict__ for base in cls.__mro__)


class ArrayEncoder:
    """The part of an Encoder that knows array-likes."""

    by_array_alone = ()  # the names of classes whose values crossed only by ``__array__``; see Encoder

    def _put_array_like(self, value):
        if self._key_depth:
            self._refuse(value, "it would arrive as an array, which cannot be a key or an item of a set")
            return
        try:
            array, flags = to_numpy(value)
            label = label_of(value)
        except Exception as error:
            if is_from_handler(error):
                raise
            self._refuse(value, "it could not be made an array of numpy's: %s: %s" % (type_name(error), error))
            return
        if not self._enter(value):  # an array of objects may contain the value from which it was made
            return
        self._path.pop()  # the array has the value's own path
        if dtype_text(array.dtype) is not None and array.ndim <= MAX_DIMENSIONS:
            self._put_array_mark(flags, label)
        self._put_array(array)
        self._inside.pop()
        if not _facts(type(value)).is_meant and class_name(type(value)) not in self.by_array_alone:
            self.by_array_alone.append(class_name(type(value)))

    def _put_array_of_other_dtype(self, array, given):
        """Append an array of ml_dtypes' bfloat16; refuse any other, with the type of the given value."""
        if is_bfloat16(array.dtype):
            self._put_array_mark(BFLOAT16, "numpy")
            self._put_array(array.view(np.uint16))
        else:
            advice = FIELDS_INSTEAD if array.dtype.names else ""
            self._refuse(given, "arrays of dtype %s have no form on the wire%s" % (array.dtype, advice))

    def _put_array_mark(self, flags, label):
        self.head += b"D%c" % flags
        self._put_str(label)
