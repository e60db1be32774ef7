"""Encodes values that cross with their class: members of Enums, Enum classes, named tuples.

Knows the tags of these values and the head that they are written to. Never knows a space, an env or a socket. Python
3.6 and up; runs on both sides.

The head holds each definition once. Later uses of it hold the distance back to it.
"""

import enum
import struct

from gym_service.protocol import class_forms, enum_classes
from gym_service.protocol.enum_classes import ClassRefused
from gym_service.protocol.values import CannotEncode

_count = struct.Struct("<I")
_place = struct.Struct("<Q")
# A member's value may be a member of another class, whose values must be plain: each level nests a whole decoder.
MAX_NESTING = 2


class ClassEncoder:
    """The part of an Encoder that knows classes."""

    _nesting = 0  # the number of definitions around this one
    _definitions = None  # definition: its position in the head
    _references = ()  # (begin, end, position of the definition), for each definition in the key that is being written

    def _put_member(self, value):
        cls, name = type(value), value._name_
        is_named = cls._member_map_.get(name) is value
        if not is_named and not (issubclass(cls, enum.Flag) and type(value._value_) is int):
            self._refuse(value, "it is not a member of its class")
            return
        if not is_named and value._value_.bit_length() > enum_classes.MAX_FLAG_BITS:
            self._refuse(value, "it has more than %d bits" % enum_classes.MAX_FLAG_BITS)
            return
        definition = self._definition_of(cls, value)
        if definition is not None:
            self.head += b"E" if is_named else b"U"
            self._put_definition(definition)
            self._put(None if name is None else str.__str__(name))
            if not is_named:
                self._put_int(value._value_)

    def _put_enum_class(self, cls):
        definition = self._definition_of(cls, cls)
        if definition is not None:
            self.head += b"C"
            self._put_definition(definition)

    def _put_named_tuple(self, value):
        definition = self._definition_of(type(value), value)
        if definition is not None:
            self._put_items(b"p", tuple.__getitem__(value, slice(None)), definition)

    def _definition_of(self, cls, value):
        """The definition of a class; None if it has none, after the value was refused."""
        try:
            return class_forms.definition_of(cls, self._encoded)
        except ClassRefused as error:
            self._refuse(value, str(error))
        except CannotEncode as error:
            self._refuse(value, "of its class, %s is a %s: %s" % (error.path, error.type_name, error.reason))
        return None

    def _encoded(self, data):
        if self._nesting >= MAX_NESTING:
            raise ClassRefused("the values of its class are members of classes whose values are members, too")
        inner = type(self)()
        inner._nesting = self._nesting + 1
        inner.add(data, data[2])
        if inner.buffers:
            raise ClassRefused("its class has an array of 12 KiB or more among its values")
        return bytes(inner.head)

    def _put_definition(self, definition):
        if self._definitions is None:
            self._definitions = {}
        here, at = len(self.head), self._definitions.get(definition)
        if at is None:
            at = self._definitions[definition] = here
            self._put_bytes_as(_count.pack(0), definition)
        else:
            self.head += _count.pack(here - at)
        if self._key_depth:
            self._references = [*self._references, (here, len(self.head), at)]

    def _cut(self, length):
        """Remove everything beyond this length from the head."""
        del self.head[length:]
        if self._definitions:
            self._definitions = {known: at for known, at in self._definitions.items() if at < length}
            self._references = [one for one in self._references if one[0] < length]

    def _form_from(self, start):
        """The head's bytes from ``start`` on, equal for equal values: with positions of definitions, not distances."""
        parts, at = [], start
        for begin, end, place in self._references:
            if begin >= start:
                parts += [bytes(self.head[at:begin]), _place.pack(place)]
                at = end
        return b"".join([*parts, bytes(self.head[at:])])
