"""One text for one value: what two plays of the same env are compared by, bit for bit and type for type.

Runs on both sides of a comparison, in the target by path, so: Python 3.6 and up, the standard library and numpy,
nothing of gym-service. A value becomes *items*, one for itself and one for each value inside it: its path, its kind
(type; of an array dtype with byte order and shape), its content (of an array its bytes, of a dict its keys in order),
and the value itself. An OrderedDict counts as a dict, as the wire has it; strides do not count. Members of Enums count
by the name of their class, their name and value, named tuples by the name of their class and its fields.

Also the play itself, so that both sides take the same steps for the same reasons.
"""

import binascii
import collections
import enum
import hashlib
import struct
import sys

import numpy as np

# Longer ones stand as their digest, so that 500 camera frames stay a small file.
SHOWN_BYTES = 128
_SCALARS = (bool, int, float, complex, str, bytes)
_PLAIN_KEYS = (bool, int, float, str, bytes, type(None))
_CONTAINERS = (list, tuple, dict, set, frozenset)
RAISED = "raised"
# What each call gives. ``set`` gives whether the attribute was set.
RESULT_NAMES = {
    "reset": ("observation", "info"),
    "step": ("observation", "reward", "terminated", "truncated", "info"),
    "render": ("frame",),
    "set": ("set",),
    "call": ("result",),
    "function": ("result",),
}
NONE = ["plain", None]  # None, as ``to_data`` has it


def items(value, path="$"):
    """(path, kind, content, value) of the value, and after it of each value inside it."""
    if isinstance(value, (np.ndarray, np.generic)):
        yield from _numpy_items(value, path)
        return
    if isinstance(value, (enum.Enum, enum.EnumMeta)):
        yield _enum_item(value, path)
        return
    if is_array_like(value):
        yield from items(as_array(value), path)
        return
    kind = next((cls.__name__ for cls in _SCALARS + _CONTAINERS if isinstance(value, cls)), None)
    if value is None:
        yield path, "None", "", None
    elif type(value) is collections.deque:
        yield from _inside(value, "deque maxlen=%s" % value.maxlen, path)
    elif kind is None:
        yield _other_item(value, path)
    elif kind in _SCALAR_TEXTS:
        yield path, kind, _SCALAR_TEXTS[kind](value), value
    elif kind in ("set", "frozenset"):
        yield path, kind, "; ".join(sorted(text(item, "") for item in value)), value
    else:
        is_named = kind == "tuple" and type(value).__name__ != "GraphInstance"  # of either library
        fields = getattr(type(value), "_fields", ()) if is_named else ()
        named = "%s of %s: %s" % (kind, type_name(value), ", ".join(fields)) if len(fields) == len(value) > 0 else kind
        yield from _inside(value, named, path)


def is_array_like(value):
    """Whether it counts as an array: a tensor, an array of another library, a frame stack."""
    cls = type(value)
    if isinstance(value, (np.ndarray, np.generic, dict, list, tuple)) or getattr(cls, "__array_ufunc__", 0) is None:
        return False  # the latter wants none of numpy
    return hasattr(cls, "__array__") or hasattr(cls, "__dlpack__") or _is_tensor(cls)


def as_array(value):
    """The array that an array-like counts as, whatever its device. Raises what its library raises."""
    if _is_tensor(type(value)):
        plain = value.detach().cpu()
        for name in ("resolve_conj", "resolve_neg"):  # a view of torch's is what it stands for
            plain = getattr(plain, name, lambda: plain)()  # noqa: B023 - called at once
        return plain.numpy()
    return np.asarray(value) if hasattr(type(value), "__array__") else np.from_dlpack(value)


def _is_tensor(cls):
    return hasattr(cls, "detach") and hasattr(cls, "cpu")


def like_observation(action, reset_result):
    """An action as the simulator is to get it: its arrays as tensors, or as jax's, where the observation is one."""
    observation = reset_result[0] if type(reset_result) is tuple and len(reset_result) == 2 else reset_result
    while isinstance(observation, dict) and observation:
        observation = next(iter(observation.values()))
    framework = type(observation).__module__.partition(".")[0].replace("jaxlib", "jax")
    if type(action) is not np.ndarray or framework not in ("torch", "jax"):
        return action
    module = sys.modules[framework]
    return module.from_numpy(action) if framework == "torch" else module.numpy.asarray(action)


def following_observations(reset, step):
    """The same two. Actions become tensors, or arrays of jax, where the observation of the last reset is one."""
    last = [None]

    def reset_and_keep(seed, options):
        last[0] = reset(seed, options)
        return last[0]

    return reset_and_keep, lambda action: step(like_observation(action, last[0]))


def lines(value, path="$"):
    """The items as texts."""
    for item in items(value, path):
        yield "%s: %s %s" % item[:3]


def text(value, path="$"):
    """The items as one text."""
    return "\n".join(lines(value, path))


def type_name(value):
    """The full name of a value's class, ``builtins`` left out."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else "%s.%s" % (cls.__module__, cls.__qualname__)


def run_episode_plan(plan, reset, step, render, remote_error=lambda error: None):
    """The moments of a play: (where, path, kind, content, value) of all that it gives.

    ``reset(seed, options)``, ``step(action)`` and ``render()`` are those of today's Gymnasium, options and actions as
    ``to_data`` has them. An episode that is over begins again: the second, fifth, … without a seed. What one of them
    raises is the last moment; ``remote_error(error)`` gives the (type name, message) that it stands for, None for its
    own.
    """
    try:
        yield from _play(plan, reset, step, render)
    except Exception as error:  # noqa: BLE001 - whatever an env raises is part of its play
        name, message = remote_error(error) or (type_name(error), str(error))
        yield "then", "$", RAISED, "%s: %s" % (name, message), error


def _play(plan, reset, step, render):
    episode, over, of_seed = 0, True, " of seed %s" % plan["seed"]
    for number, data in enumerate(plan["actions"]):
        if over:
            reseeded = episode % 3 != 1
            result = reset(plan["seed"] + episode if reseeded else None, plan["options"] if reseeded else NONE)
            yield from _fields("reset %d%s" % (episode, of_seed), RESULT_NAMES["reset"], result)
            episode += 1
        result = step(data)
        where = "step %d%s" % (number, of_seed)
        yield from _fields(where, RESULT_NAMES["step"], result)
        over = type(result) is tuple and len(result) == 5 and any(map(_is_over, result[2:4]))
        if plan["render_every"] and number % plan["render_every"] == 0:
            for item in items(render(), "$.frame"):
                yield (where, *item)


def replay(calls, perform, digest, remote_error=lambda error: None):
    """What came back from each of some calls: (summary, results, what was raised).

    Args:
        calls: the name of each call, and its arguments in a form that ``perform`` takes.
        perform: ``perform(name, arguments)`` makes the call and returns its results, a tuple.
        digest: a RollingDigest of ``protocol/value_digest.py``.
        remote_error: the (type name, message) that an error stands for; None for its own.

    What is raised is the answer to its call, with None for the results; the next call is made all the same.
    """
    for name, arguments in calls:
        try:
            results = perform(name, arguments)
        except Exception as error:  # noqa: BLE001 - whatever an env raises is what came back
            text = "%s: %s" % (remote_error(error) or (type_name(error), error))
            yield digest.add(b"raised", (text,)), None, text
        else:
            yield digest.add(name.encode("ascii"), results), results, ""


def named_items(name, results):
    """(where, path, kind, content, value) of all that a call gave."""
    return _fields(name, RESULT_NAMES[name], results)


def outcome(function, remote_error=lambda error: None):
    """The items of what a function returns, without the values; or the one that says what it has raised."""
    try:
        return [list(item[:3]) for item in items(function())]
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side must see the same
        return [["$", RAISED, "%s: %s" % (remote_error(error) or (type_name(error), error))]]


def from_data(data, graph_class=None):
    """A value from its JSON. ``graph_class`` is the GraphInstance of the env's own library."""
    kind, content = data[0], data[1]
    if kind == "plain":
        return content
    if kind == "float":
        return float.fromhex(content)
    if kind == "bytes":
        return binascii.unhexlify(content)
    if kind == "complex":
        return complex(*[float.fromhex(part) for part in content])
    if kind in ("list", "tuple"):
        found = [from_data(part, graph_class) for part in content]
        return found if kind == "list" else tuple(found)
    if kind == "graph":
        return graph_class(*[from_data(part, graph_class) for part in content])
    if kind == "dict":
        return {from_data(key, graph_class): from_data(part, graph_class) for key, part in content}
    array = np.frombuffer(binascii.unhexlify(data[3]), np.dtype(content)).reshape(data[2])
    return array[()] if kind == "scalar" else array.copy()


def to_data(value):
    """A value as JSON, from which it comes back as it was. Raises TypeError where it would not."""
    if isinstance(value, dict):
        return ["dict", [[to_data(key), to_data(part)] for key, part in value.items()]]
    if type(value).__name__ == "GraphInstance":
        return ["graph", [to_data(part) for part in value]]
    if isinstance(value, (list, tuple)):
        return ["tuple" if isinstance(value, tuple) else "list", [to_data(part) for part in value]]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "OV":
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return [kind, value.dtype.str, list(value.shape), _hex(value.tobytes())]
    if value is None or type(value) in (bool, int, str):
        return ["plain", value]
    if type(value) is float:
        return ["float", value.hex()]
    if type(value) is bytes:
        return ["bytes", _hex(value)]
    if type(value) is complex:
        return ["complex", [value.real.hex(), value.imag.hex()]]
    raise TypeError("a %s cannot be given to both sides alike: %r" % (type_name(value), value))


def full_bytes(value):
    """All bytes of an array or a numpy scalar, as hex; empty for anything else."""
    is_plain = isinstance(value, (np.ndarray, np.generic)) and value.dtype != object
    return _hex(_bits(value)) if is_plain else ""


def _is_over(flag):
    """Whether an end says that the episode is over; of one for each agent, whether all say so."""
    parts = flag.values() if isinstance(flag, dict) else flag if isinstance(flag, (list, tuple)) else np.ravel(flag)
    return len(parts) > 0 and all(map(bool, parts))


def _fields(where, names, values):
    if type(values) is not tuple or len(values) != len(names):  # of another form: as it is
        names, values = ["result"], [values]
    for name, value in zip(names, values):
        for item in items(value, "$." + name):
            yield (where, *item)


def _numpy_items(value, path):
    kind = "array" if isinstance(value, np.ndarray) else "scalar"
    kind = "numpy %s %s %s" % (kind, value.dtype.str, tuple(int(length) for length in value.shape))
    if value.dtype != object:
        yield path, kind, _bytes_text(_bits(value)), value
        return
    yield path, kind, "", value
    for index, part in enumerate(value.ravel()):
        yield from items(part, "%s.flat[%d]" % (path, index))


def _enum_item(value, path):
    if isinstance(value, enum.Enum):
        return path, "member of %s" % type_name(value), "%s %s" % (value._name_, text(value._value_, "")), value
    members = ["%s %s %s" % (name, one._name_, text(one._value_, "")) for name, one in value.__members__.items()]
    return path, "Enum %s.%s" % (value.__module__, value.__qualname__), "; ".join(members), value


def _other_item(value, path):
    """By what str() says where that is all of the value: its repr depends on the version of Python."""
    cls = type(value)
    module = cls.__module__.split(".")[0]
    if module in ("datetime", "decimal", "fractions", "uuid", "pathlib"):
        return path, "%s.%s" % (module, cls.__qualname__), str(value), value
    if any(base.__name__ == "Space" and base.__module__.startswith("gym") for base in cls.__mro__):
        return path, "space %s" % cls.__name__, "", value  # how one is shown depends on the library
    shown = ascii(value)
    return path, type_name(value), "" if " at 0x" in shown else shown, value  # an address is nothing of the value


def _inside(value, kind, path):
    pairs = list(value.items() if kind == "dict" else enumerate(value))
    keys = [ascii(key) if type(key) is str else text(key, "")[2:] for key, _ in pairs]
    yield path, kind, "[%s]" % ", ".join(keys) if kind == "dict" else "%d items" % len(pairs), value
    for key, part in pairs:
        # repr() of numpy's numbers depends on its version, and the order of a frozenset on the process.
        shown = ascii(key) if type(key) in _PLAIN_KEYS else text(key, "")[2:].replace("\n", " ")
        yield from items(part, "%s[%s]" % (path, shown))


def _bytes_text(data):
    if len(data) <= SHOWN_BYTES:
        return _hex(data)
    return "%d bytes %s" % (len(data), hashlib.sha256(data).hexdigest())


def _bits(value):
    """The bytes of an array, without what fills a long double up: a copy may leave that as it finds it."""
    parts = 2 if value.dtype.kind == "c" else 1
    if value.dtype.kind not in "fc" or value.dtype.itemsize // parts <= 8 or np.finfo(value.dtype).nmant != 63:
        return value.tobytes()
    raw = np.frombuffer(value.tobytes(), np.uint8).reshape(-1, value.dtype.itemsize // parts).copy()
    raw[:, 10:] = 0
    return raw.tobytes()


def _hex(data):
    return binascii.hexlify(data).decode("ascii")


def _float_text(value):
    bits = " " + _hex(struct.pack("<d", value)) if value != value else ""  # two NaNs may differ in bits
    return "%r%s" % (float.__pos__(value), bits)  # a subclass may say another number


_SCALAR_TEXTS = {
    "bool": str,
    "int": lambda value: "%d" % value,
    "float": _float_text,
    "complex": lambda value: "%r %s" % (complex(value), _hex(struct.pack("<dd", value.real, value.imag))),
    "str": lambda value: ascii(str.__str__(value)),
    "bytes": lambda value: _bytes_text(bytes(value)),
}


def with_objects(value, named):
    """The value with the object in the place of each ``{"object": "module:attribute"}``."""
    if isinstance(value, dict):
        name = value.get("object") if len(value) == 1 else None
        parts = name.split(":") if isinstance(name, str) else ()
        if len(parts) == 2 and all(part.isidentifier() for text in parts for part in text.split(".")):
            return named(name)
        return {key: with_objects(item, named) for key, item in value.items()}
    return type(value)(with_objects(item, named) for item in value) if type(value) in (list, tuple) else value
