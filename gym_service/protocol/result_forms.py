"""Forms of results: the structure that several steps of a vector env share is sent once, and then only the bytes.

Knows values of arrays in dicts and tuples, and layouts. Never knows an env or a socket. Python 3.6 and up; runs on both
sides.

A vectorised simulator returns the same keys, dtypes and shapes step after step, and its infos have no space. So a
result that consists only of arrays becomes a layout, its *form*. The server makes the form when it sends such a result
in the general form, and adds a version as one more value. The client makes the same form from what it has read. From
then on a result that fits exactly is packed after the version. Any other takes the general path again, and may become
another form.
"""

import numpy as np

from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.layout import STAMP, compile_layout
from gym_service.protocol.values import BadValue, dtype_text

# The number of forms that either side keeps; the oldest goes first.
KEPT_FORMS = 4
# The limit for one env. If results never repeat, forms cost more time than they save.
MAX_FORMS = 64


class FormWriter:
    """The server's end."""

    def __init__(self):
        self._forms = []
        self._made = 0

    def pack(self, result):
        """The result packed by the first form that fits; None if none fits."""
        for form in self._forms:
            packed = Packed()
            packed.head += form.stamp
            if form.pack(result, packed.head, packed.buffers):
                return packed
        return None

    def new_form(self, result):
        """A form for results like this one; None if there can be none, or the limit is reached."""
        space = _space_of(result) if self._made < MAX_FORMS else None
        return None if space is None else compile_layout(space, version=self._made)

    def keep(self, form):
        """Use the form from the next result on. This answer must tell the client its version."""
        self._made += 1
        self._forms = [form, *self._forms[: KEPT_FORMS - 1]]


class FormReader:
    """The client's end."""

    def __init__(self):
        self._forms = {}
        self._readers = {}  # of the forms that have been read from a memory

    def unpack_at(self, memory, start, size_bytes):
        """The packed result that fills so many bytes of a memory, always the same one, from ``start`` on.

        None if ``unpack`` must read it. Raises BadValue.
        """
        version = STAMP.unpack_from(memory, start)[0] if size_bytes >= STAMP.size else None
        form = self._forms.get(version)
        if form is None or form.buffer_count or size_bytes != STAMP.size + form.head_bytes:
            return None
        read = self._readers.get(form)
        if read is None:
            self._readers = {known: self._readers[known] for known in self._forms.values() if known in self._readers}
            read = self._readers[form] = form.reader(memory, start + STAMP.size)
        return read()

    def unpack(self, frame):
        """The packed result. Raises BadValue for malformed bytes, BadFrame for an unknown form."""
        head, buffers = frame.head, frame.buffers
        if len(head) < STAMP.size:
            raise BadValue("a packed result of %d bytes" % len(head))
        version = STAMP.unpack_from(head)[0]
        form = self._forms.get(version)
        if form is None:
            raise BadFrame("packed by form %d, which is unknown" % version)
        if (len(head), len(buffers)) != (STAMP.size + form.head_bytes, form.buffer_count):
            raise BadValue("%d bytes and %d buffers are not one result" % (len(head), len(buffers)))
        return form.unpack(head, STAMP.size, buffers)

    def read(self, frame, count, graph):
        """A result in the general form: a tuple of ``count`` values, or one value instead."""
        values = ValueDecoder(frame.head, frame.buffers, graph, arrays=frame.arrays).read_rest()
        if len(values) == count + 1:
            self._keep(tuple(values[:count]), values.pop())
        if len(values) not in (1, count):
            raise BadValue("%d values came where %d were due, or one" % (len(values), count))
        return tuple(values) if len(values) == count else values[0]

    def _keep(self, result, version):
        space = _space_of(result)
        form = None if space is None or type(version) is not int else compile_layout(space, version=version)
        if form is None:
            raise BadValue("not a result that has a form")
        self._forms.pop(form.version, None)
        self._forms[form.version] = form
        if len(self._forms) > KEPT_FORMS:
            del self._forms[next(iter(self._forms))]


def _space_of(value):
    """The space for packing such a value, as plain data; None if it holds anything but arrays."""
    if type(value) is np.ndarray:
        dtype = dtype_text(value.dtype)
        return None if dtype is None else {"kind": "Box", "dtype": dtype.decode("ascii"), "shape": value.shape}
    if type(value) is tuple:
        parts = [_space_of(part) for part in value]
        return None if None in parts else {"kind": "Tuple", "spaces": parts}
    if type(value) is dict and all(type(key) is str for key in value):
        pairs = [(key, _space_of(part)) for key, part in value.items()]
        return None if any(part is None for _, part in pairs) else {"kind": "Dict", "spaces": pairs}
    return None
