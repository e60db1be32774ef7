"""The facts of an env that its server states, and restates when they change: spaces, metadata, render mode.

Knows the data of a description, and which of it a RemoteEnv keeps. Never knows calls. Python 3.10 and up.
"""

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gym_service.client.connection import Connection
from gym_service.client.spaces import refuse_larger, space_from
from gym_service.errors import CannotCross, ProtocolError
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.layout import Layout, compile_layout
from gym_service.protocol.space_spec import CannotDescribe, built, describe
from gym_service.protocol.values import BadValue, CannotEncode

LAYOUTS = {"observation_space": "_layout", "action_space": "_action_layout"}
# The attributes of a RemoteEnv that show the simulator's, and that set them there when they are assigned.
FACTS = (*LAYOUTS, "metadata", "render_mode")


Tell = Callable[[str, Any], None]

# What reading plain data of the wrong form raises.
MALFORMED = (ArithmeticError, AssertionError, AttributeError, BadValue, LookupError, TypeError, ValueError)


@contextmanager
def reading_description(close: Callable[[float], object], what: str = "env") -> Iterator[None]:
    """Call ``close(0.0)`` and raise ProtocolError if the block finds that a description is not that of a ``what``."""
    try:
        yield
    except MALFORMED as error:
        close(0.0)
        if is_foreign(error):
            raise
        text = f"during make the other side described no {what}: {type(error).__name__}: {error}"
        raise ProtocolError(text, during="make") from error


class Metadata(dict[str, Any]):
    """A simulator's metadata: changes are made in the simulator too. A copy or a pickle is a plain dict."""

    def __init__(self, data: Mapping[str, Any], tell: "weakref.WeakMethod[Tell]") -> None:
        super().__init__(data)
        self._tell = tell

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def _telling(change: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[misc] # noqa: N805 - of this class
        @functools.wraps(change)
        def changed(self: "Metadata", *args: Any, **kwargs: Any) -> Any:
            result = change(self, *args, **kwargs)
            tell = self._tell()
            if tell is not None:
                tell("metadata", dict(self))
            return result

        return changed

    __setitem__ = _telling(dict.__setitem__)
    __delitem__ = _telling(dict.__delitem__)
    update = _telling(dict.update)
    setdefault = _telling(dict.setdefault)
    pop = _telling(dict.pop)
    popitem = _telling(dict.popitem)
    clear = _telling(dict.clear)
    __ior__ = _telling(dict.__ior__)


def fact_data(name: str, value: Any) -> Any:
    """The data to send when one of these attributes is assigned: for a space plain data. Raises CannotCross."""
    if name not in LAYOUTS or value is None:
        return value
    try:
        return describe(value, f"$.{name}")
    except (CannotDescribe, CannotEncode) as error:
        raise CannotCross(str(error), path=error.path, type_name=error.type_name) from error


def apply_facts(
    kept: dict[str, Any],
    connection: Connection,
    tell: "weakref.WeakMethod[Tell]",
    facts: Mapping[str, Any],
    call_id: int = 0,
) -> None:
    """Store facts in a RemoteEnv's attributes, and raise the connection's bound to fit its layouts.

    All are stored at once, and once per call: after an interrupt the same frame may arrive here again. If a new space
    equals the present one, the present one stays: wrappers hold it, and user code may have seeded it.
    """
    if not facts.keys() <= {*FACTS}:
        raise BadValue(f"not the facts of an env: {list(facts)}")
    if not call_id or kept.get("_changed_in") != call_id:
        kept.update(_new_facts(kept, connection.bound_bytes, tell, facts), _changed_in=call_id)
    connection.bound_bytes = kept["_bound_bytes"]
    connection.allow_replies_of(connection.bound_bytes)


def _new_facts(
    kept: Mapping[str, Any], bound_bytes: int, tell: "weakref.WeakMethod[Tell]", facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The attributes that the facts change."""
    new: dict[str, Any] = {"_layout_versions": dict(kept["_layout_versions"]), "_origin": dict(kept["_origin"])}
    for name in facts.keys() & LAYOUTS.keys():
        data = facts[name]
        if data is not None:
            refuse_larger(data, bound_bytes)
        old: Layout | None = kept.get(LAYOUTS[name])
        new["_layout_versions"][name] = version = kept["_layout_versions"].get(name, -1) + 1
        layout = None if data is None else compile_layout(data, version=version)
        bound_bytes += (layout.size_bytes if layout else 0) - (old.size_bytes if old else 0)
        new[LAYOUTS[name]] = layout
        space = None if data is None else built(space_from, data)
        if name not in kept or kept[name] != space:
            new[name] = space
        new["_origin"][name] = data
    if "metadata" in facts:
        new["metadata"] = Metadata(facts["metadata"], tell)
    if "render_mode" in facts:
        new["render_mode"] = facts["render_mode"]
    return {**new, "_bound_bytes": bound_bytes}
