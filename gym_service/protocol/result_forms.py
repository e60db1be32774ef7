"""Forms of results: the structure that several steps share is sent once, and then only the bytes.

Knows layouts of results (``form_layout.py``). Never knows an env or a socket. Python 3.6 and up; runs on both sides.

A simulator returns the same keys, types and shapes step after step, and what is in its infos stands in no space. The
server makes a layout of what a result consists of, its *form*, when it sends that result in the general form. It adds
the form's version and what the form consists of as one more value, and the client compiles the same form. From then on
a result that fits exactly is packed after the version. Any other takes the general path again, and may become another
form.
"""

from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.form_layout import compile_form, spec_of
from gym_service.protocol.frames import SCRATCH_BYTES, BadFrame
from gym_service.protocol.interrupts import is_from_handler
from gym_service.protocol.layout import STAMP
from gym_service.protocol.values import BadValue

# The number of forms that either side keeps; the oldest goes first.
KEPT_FORMS = 4
# The limit of attempts in the life of one env, and of results in turn that fit no form. If results never repeat, forms
# cost more time than they save.
MAX_ATTEMPTS = 64
MAX_MISSES = 16


class FormWriter:
    """The server's end. ``before``: the bytes before the version in each packed result."""

    def __init__(self, before=b""):
        self._before = before
        self._forms = []
        self._attempts = self._made = self._misses = 0
        self._pending = None  # (a form, the answer that tells of it), until that is sent
        self.is_usual = False  # whether a form has fitted the last result that was tried

    def pack(self, result, *, only_small=False):
        """The result packed by the first form that fits; None if none fits.

        With ``only_small`` only forms without buffers are tried.
        """
        for form in self._forms:
            if only_small and form.buffer_count:
                continue
            packed = Packed()
            packed.head += self._before
            packed.head += form.stamp
            if form.pack(result, packed.head, packed.buffers):
                self._misses, self.is_usual = 0, True
                return packed
        self.is_usual = False
        return None

    def new_form(self, result):
        """A form for results like this one, and the Encoder that tells the client of it; (None, None) if there is none.

        To be called for each result that no form fits.
        """
        self._misses += 1
        if self._misses > MAX_MISSES:
            self._forms = []
        if self._attempts >= MAX_ATTEMPTS:
            return None, None
        self._attempts += 1
        try:
            spec = spec_of(result)
        except Exception as error:  # a simulator's value may raise anything
            if is_from_handler(error):
                raise
            return None, None
        if spec is None:
            return None, None
        try:
            form = compile_form(spec, self._made)
        except BadValue:  # too large, or of too many dimensions; the general path says so
            return None, None
        told = Encoder().add((form.version, spec))
        return (None, None) if told.size_bytes > SCRATCH_BYTES else (form, told)

    def keep(self, form, answer):
        """Use the form once this answer, which tells the client of it, is sent: see ``answered``.

        The client forgets its oldest form then, so that is given up now.
        """
        self._made += 1
        self._forms = self._forms[: KEPT_FORMS - 1]
        self._pending = form, answer

    def answered(self, answer):
        """An answer is sent. If it is another one than ``keep`` got, such as an error, that form is dropped."""
        if self._pending is not None:
            form, telling = self._pending
            self._pending = None
            if telling is answer:
                self._forms = [form, *self._forms]


class FormReader:
    """The client's end. ``before_bytes`` stand before the version; ``arrays`` is as for ``ValueDecoder``."""

    def __init__(self, before_bytes=0, arrays=None):
        self._before_bytes = before_bytes
        self._arrays = arrays
        self._forms = {}
        self._readers = {}  # of the forms that have been read from a memory

    def unpack_at(self, memory, start, size_bytes):
        """The packed result that fills so many bytes of a memory, always the same one, from ``start`` on.

        None if ``unpack`` must read it: it has buffers, or ``unpack`` refuses it. Raises BadValue.
        """
        at, beside_bytes = start + self._before_bytes, self._before_bytes + STAMP.size
        version = STAMP.unpack_from(memory, at)[0] if size_bytes >= beside_bytes else None
        form = self._forms.get(version)
        if form is None or form.buffer_count or size_bytes != beside_bytes + form.head_bytes:
            return None
        read = self._readers.get(form)
        if read is None:
            self._readers = {known: self._readers[known] for known in self._forms.values() if known in self._readers}
            read = self._readers[form] = form.reader(memory, at + STAMP.size)
        return read()

    def unpack(self, frame):
        """The packed result. Raises BadValue for malformed bytes, BadFrame for an unknown form."""
        head, buffers, beside_bytes = frame.head, frame.buffers, self._before_bytes + STAMP.size
        if len(head) < beside_bytes:
            raise BadValue("a packed result of %d bytes" % len(head))
        version = STAMP.unpack_from(head, self._before_bytes)[0]
        form = self._forms.get(version)
        if form is None:
            raise BadFrame("packed by form %d, which is unknown" % version)
        if (len(head), len(buffers)) != (beside_bytes + form.head_bytes, form.buffer_count):
            raise BadValue("%d bytes and %d buffers are not one result" % (len(head), len(buffers)))
        return form.unpack(head, beside_bytes, buffers)

    def read(self, frame, count, graph):
        """A result in the general form: a tuple of ``count`` values, or one value instead."""
        values = ValueDecoder(frame.head, frame.buffers, graph, arrays=frame.arrays).read_rest()
        if len(values) == count + 1:
            self._keep(values.pop())
        if len(values) not in (1, count):
            raise BadValue("%d values came where %d were due, or one" % (len(values), count))
        return tuple(values) if len(values) == count else values[0]

    def _keep(self, told):
        if type(told) is not tuple or len(told) != 2 or type(told[0]) is not int:
            raise BadValue("not a form: %s" % type(told).__name__)
        version, spec = told
        form = compile_form(spec, version, self._arrays)
        self._forms.pop(form.version, None)
        self._forms[form.version] = form
        if len(self._forms) > KEPT_FORMS:
            del self._forms[next(iter(self._forms))]
