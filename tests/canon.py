"""One text for one value: what two plays of the same env are compared by, bit for bit and type for type.

Runs on both sides of a comparison, so: Python 3.6 and up, the standard library and numpy, nothing of gym-service.
Says of each value its type, of an array also dtype with byte order, shape and bytes, of a dict also the order of its
keys. OrderedDict, namedtuple and IntEnum count as the type below them, as the wire has it; strides do not count.
Also the play itself, so that both sides take the same steps for the same reasons.
"""

import hashlib
import json
import struct

import numpy as np

# Longer ones stand as their digest, so that 500 camera frames stay a small file.
SHOWN_BYTES = 128
_SCALARS = (bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, dict, set, frozenset)


def lines(value, path):
    """The value as lines ``path: type and content``, those inside it after it."""
    if isinstance(value, (np.ndarray, np.generic)):
        yield from _numpy_lines(value, path)
        return
    kind = next((cls.__name__ for cls in _SCALARS + _CONTAINERS if isinstance(value, cls)), None)
    if value is None:
        yield "%s: None" % path
    elif kind is None:
        yield "%s: %s.%s %s" % (path, type(value).__module__, type(value).__qualname__, ascii(value))
    elif kind in ("list", "tuple", "dict", "set", "frozenset"):
        yield "%s: %s of %d" % (path, kind, len(value))
        yield from _inside(value, kind, path)
    else:
        yield "%s: %s %s" % (path, kind, _SCALAR_TEXTS[kind](value))


def text(value, path="$"):
    """The value's lines as one text."""
    return "\n".join(lines(value, path))


def first_difference(ours, theirs):
    """The first of two lists of lines where they differ, in words; None where they are equal."""
    for one, other in zip(ours, theirs):  # noqa: B905 - Python 3.10 brought strict=
        if one != other:
            return "remote     %s\nin-process %s" % (one, other)
    if len(ours) != len(theirs):
        longer, rest = ("remote", ours) if len(ours) > len(theirs) else ("in-process", theirs)
        return "only %s goes on: %s" % (longer, rest[min(len(ours), len(theirs))])
    return None


def play(job, reset, step, render):
    """The lines of a play: ``reset(seed, options)``, ``step(action)`` and ``render()`` are those of today's Gymnasium.

    An episode that is over begins anew: the second, fifth, … without a seed.
    """
    episode, over = 0, True
    for number, data in enumerate(job["actions"]):
        if over:
            reseeded = episode % 3 != 1
            result = reset(job["seed"] + episode if reseeded else None, job["options"] if reseeded else None)
            yield from _fields("reset %d" % episode, ("observation", "info"), result)
            episode += 1
        result = step(action(data))
        yield from _fields("step %d" % number, ("observation", "reward", "terminated", "truncated", "info"), result)
        over = bool(result[2] or result[3])
        if job["render_every"] and number % job["render_every"] == 0:
            yield from lines(render(), "step %d: frame" % number)


def action(data):
    """An action from its JSON."""
    kind = data[0]
    if kind == "int":
        return data[1]
    if kind == "tuple":
        return tuple(action(part) for part in data[1])
    if kind == "dict":
        return {key: action(part) for key, part in data[1]}
    dtype = np.dtype(data[1])
    return dtype.type(data[2]) if kind == "scalar" else np.array(data[2], dtype)


def action_data(value):
    """An action as JSON, from which it comes back as it was."""
    if isinstance(value, dict):
        return ["dict", [[key, action_data(part)] for key, part in value.items()]]
    if isinstance(value, tuple):
        return ["tuple", [action_data(part) for part in value]]
    if isinstance(value, np.generic):
        return ["scalar", value.dtype.str, value.item()]
    if isinstance(value, np.ndarray):
        return ["array", value.dtype.str, value.tolist()]
    assert type(value) is int, value
    return ["int", value]


def read_jobs(path):
    """A list of jobs, as ``write_jobs`` wrote it."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_jobs(path, jobs):
    """Write a list of jobs."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(jobs, file)


def _fields(prefix, names, values):
    if len(values) != len(names):
        raise ValueError("%s gave %d values" % (prefix, len(values)))
    for name, value in zip(names, values):  # noqa: B905
        yield from lines(value, "%s: %s" % (prefix, name))


def _numpy_lines(value, path):
    kind = "array" if isinstance(value, np.ndarray) else "scalar"
    head = "%s: numpy %s %s %s" % (path, kind, value.dtype.str, value.shape)
    if value.dtype != object:
        yield "%s %s" % (head, _bytes_text(value.tobytes()))
        return
    yield head
    for index, item in enumerate(value.ravel()):
        yield from lines(item, "%s.flat[%d]" % (path, index))


def _inside(value, kind, path):
    if kind in ("set", "frozenset"):
        for item in sorted(text(item, "") for item in value):
            yield "%s has%s" % (path, item)
        return
    pairs = value.items() if kind == "dict" else enumerate(value)
    for key, item in pairs:
        if kind == "dict" and type(key) is not str:
            yield "%s key %s" % (path, text(key, ""))
        yield from lines(item, "%s[%s]" % (path, ascii(key)))


def _bytes_text(data):
    if len(data) <= SHOWN_BYTES:
        return data.hex()
    return "%d bytes %s" % (len(data), hashlib.sha256(data).hexdigest())


_SCALAR_TEXTS = {
    "bool": str,
    "int": lambda value: hex(int(value)),
    "float": lambda value: "%r %s" % (float(value), struct.pack("<d", value).hex()),  # two NaNs may differ in bits
    "complex": lambda value: struct.pack("<dd", value.real, value.imag).hex(),
    "str": lambda value: ascii(str.__str__(value)),
    "bytes": lambda value: _bytes_text(bytes(value)),
}
