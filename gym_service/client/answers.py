"""Decodes the answers to one env's calls, and encodes the optional fields of its calls.

Knows the fields of messages. Never knows an env: the connection keeps these decoders, and must not keep the env alive.
Python 3.10 and up.
"""

from typing import Any

from gymnasium.spaces import GraphInstance

from gym_service.client.connection import Connection, fields
from gym_service.protocol import messages, results
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.frames import Frame
from gym_service.protocol.layout import Layout
from gym_service.protocol.result_forms import FormReader
from gym_service.protocol.values import BadValue


def step_result(layout: Layout | None, forms: FormReader, frame: Frame) -> Any:
    """The result of step()."""
    if frame.kind != messages.STEPPED:
        return forms.read(frame, 5, GraphInstance)
    if layout is None or results.is_by_form(frame.head):
        return forms.unpack(frame)
    return results.unpack_step(layout, frame.head, frame.buffers, GraphInstance, frame.arrays)


def forms_of(connection: Connection) -> FormReader:
    """The forms of one env's results: none yet."""
    return FormReader(len(results.BEFORE_FORM), connection.arrays)


def result_of(frame: Frame, count: int) -> Any:
    """The result of reset() or step(): a tuple of ``count`` values, or the one value that it was instead."""
    values = ValueDecoder(frame.head, frame.buffers, GraphInstance, arrays=frame.arrays).read_rest()
    if len(values) not in (1, count):
        raise BadValue(f"{len(values)} values came where {count} were due, or one")
    return tuple(values) if len(values) == count else values[0]


def further_fields(args: tuple[Any, ...], more: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The further arguments of a call as fields, each with its path; empty if there are none."""
    return (("$.args", args), ("$.kwargs", more)) if args or more else ()


def attribute_of(frame: Frame) -> tuple[bool, Any]:
    """(whether it is callable, its value): the reply to GET."""
    is_callable, value = fields(frame, 2)
    if type(is_callable) is not bool:
        raise BadValue("an attribute was due")
    return is_callable, value
