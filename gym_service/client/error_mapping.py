"""Maps the failures of a call: facts of the wire become errors of ``gym_service.errors`` and warnings.

Knows which error belongs to which failure, and its wording. Never knows a stream, or when a connection must be closed.
Python 3.10 and up.
"""

import builtins
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from gym_service.errors import (
    CallTimeout,
    CannotCross,
    ForkedError,
    GymServiceError,
    ProtocolError,
    VersionMismatch,
    env_error_class,
)
from gym_service.protocol import messages
from gym_service.protocol.encoder import Packed
from gym_service.protocol.frames import BadFrame, WrongVersion
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.values import BadValue

T = TypeVar("T")

SHOWN_LINES = 40
# The most sub-environments that an error names.
MOST_NAMED = 16


class Peer(Protocol):
    """The server at the other end of a connection, as a process or as a host.

    The launcher's ServerLink (``servers/link.py``) is one. The client uses only these five members of it.
    """

    def died(self, during: str) -> GymServiceError:
        """The error for a stream that ended during a call. Blocks for a few seconds at most, to find the cause."""

    def diagnose(self, end_sending: Callable[[], None]) -> tuple[str, str]:
        """Why the server does not answer: ``stopped``, ``blocked``, ``busy`` or ``unknown``; and its Python stack.

        Only for a server that is stopped right afterwards, since it may interrupt sleeping calls. ``end_sending``
        closes the sending direction of the stream, which some kinds of peers need. Blocks for a few seconds at most.
        """

    def tail(self) -> str:
        """The end of the server's output, as far as this process knows it."""

    @property
    def calls(self) -> memoryview:
        """The memory in which to count the calls, at index 0."""

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        """Make sure that the server ends, in steps. The stream is closed already.

        Waits ``ask_s`` seconds for the server to end by itself, then uses force. Blocks for at most some seconds more
        than ``ask_s``. To close several servers, take the same step of each in turn.
        """


def timed_out(
    during: str, timeout_s: float, peer: Peer, end_sending: Callable[[], None], interrupted: str = ""
) -> CallTimeout:
    """The error for a call that was not answered in time. Blocks as ``Peer.diagnose``.

    ``interrupted``: the earlier, interrupted call whose end this call has waited for.
    """
    tail = peer.tail()
    state, stack = peer.diagnose(end_sending)
    waited = f", in which it waited for the end of the {interrupted} that was interrupted" if interrupted else ""
    text = f"{during} took longer than its timeout of {timeout_s:g} s{waited}; {_STATES[state]}, and has been stopped"
    text += _block("where its Python code was", stack) + _block("the end of its output", tail)
    text += f"\n  try: a longer timeout, timeouts = {{ {during} = … }}, or inf for none"
    facts = {"during": during, "timeout_s": timeout_s, "state": state, "stack": stack, "tail": tail}
    return CallTimeout(text, **facts)


_STATES = {
    "stopped": "the server had been stopped from outside (SIGSTOP, a debugger)",
    "blocked": "the server was blocked (its main thread was waiting)",
    "busy": "the server was busy (its main thread was computing)",
    "unknown": "the server was silent",
}


def waited(during: str, timeout_s: float, other: str) -> CallTimeout:
    """The error for a call that did not get its turn in time. Nothing of it was sent, and nothing is closed."""
    text = (
        f"{during} waited {timeout_s:g} s for the {other} of another thread to end; nothing was sent, and the env "
        f"stays open\n  try: a longer timeout, timeouts = {{ {during} = … }}, or an env for each thread"
    )
    return CallTimeout(text, during=during, timeout_s=timeout_s, state="waiting", stack="", tail="")


def not_ready(timeout_s: float, min_envs: int, ready: int, in_flight: Sequence[int]) -> CallTimeout:
    """The error for a ``recv`` whose own time is over. Nothing is lost, and nothing is closed."""
    text = (
        f"recv waited {timeout_s:g} s for {min_envs} results, and {ready} are ready; in flight: {envs_named(in_flight)}"
        "\n  try: recv() again, which goes on where this one ended; or a longer timeout_s, or fewer min_envs"
    )
    facts = {"during": "recv", "timeout_s": timeout_s, "state": "waiting", "stack": "", "tail": ""}
    return CallTimeout(text, **facts, env_ids=tuple(in_flight))


def envs_named(env_ids: Sequence[int]) -> str:
    """The names of sub-environments; of many only the first ones."""
    named = [str(env_id) for env_id in env_ids[:MOST_NAMED]]
    if len(env_ids) > MOST_NAMED:
        named.append(f"{len(env_ids) - MOST_NAMED} more")
    if len(named) == 1:
        return f"sub-environment {named[0]}"
    return f"sub-environments {', '.join(named[:-1])} and {named[-1]}"


def with_envs(error: GymServiceError, env_ids: Sequence[int]) -> GymServiceError:
    """The same error, with the sub-environments that were in flight at its server."""
    if env_ids:
        first, line, rest = str(error).partition("\n")
        error.args = (f"{first}\n  in flight there: {envs_named(env_ids)}{line}{rest}",)
        error.__dict__["env_ids"] = tuple(env_ids)
    return error


def forked(process_id: int) -> ForkedError:
    """The error for a call in a forked child of the process that made the env."""
    text = f"this env was made in process {process_id} and is used in its forked child {os.getpid()}: "
    return ForkedError(text + "they would read each other's answers.\n  try: make an env in the child")


def in_child(error: BaseException, process_id: int) -> BaseException:
    """The error of a call that goes on in a forked child: a ForkedError, unless it is an exception of the user's own.

    The fork has closed what the call was using, so any of this package's code may fail.
    """
    is_ours = isinstance(error, Exception) and not is_foreign(error)
    return forked(process_id) if is_ours and not isinstance(error, ForkedError) else error


def _block(title: str, text: str) -> str:
    lines = text.strip().splitlines()[-SHOWN_LINES:]
    return f"\n  {title}:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


def too_large(arguments: Packed, bound_bytes: int) -> CannotCross:
    """The error for a call that is larger than a frame may be. Nothing of it was sent."""
    size, path = arguments.largest
    text = f"{path} holds {size} bytes; a call may hold {bound_bytes} and this one holds {arguments.size_bytes}"
    text += f"\n  try: max_message_mib = {-(-arguments.size_bytes // 2**20)}"
    return CannotCross(text, path=path, type_name="")


def warn(warned: list[tuple[str, str]]) -> None:
    """Issue the simulator's warnings, and point at the code that made the call.

    Only after the call: a filter that turns warnings into errors must not leave half an answer in the channel.
    """
    taken, warned[:] = list(warned), []
    for category, text in taken:
        cls = getattr(builtins, category, UserWarning)
        known = isinstance(cls, type) and issubclass(cls, Warning)
        warnings.warn(text, cls if known else UserWarning, stacklevel=_caller_level())


def _caller_level() -> int:
    """The ``stacklevel`` of the nearest code outside this package (skip_file_prefixes is new in Python 3.12)."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    return level


_PACKAGE = __name__.partition(".")[0]


def expect_type(sort: type[T], value: Any) -> T:
    """The value, which must have this type. Raises BadValue."""
    if type(value) is not sort:
        raise BadValue(f"a {type(value).__name__} came where a {sort.__name__} was due")
    return value


def remote_error(origin: str, type_name: str, message: str, evidence: str, bases: list[str]) -> GymServiceError:
    """The error for an ERROR's fields (``server/error_report.py``).

    Raises BadValue or BadFrame if they are malformed.
    """
    for text in (origin, type_name, message, evidence, *expect_type(list, bases)):
        expect_type(str, text)
    if origin == messages.FROM_ENV:
        text = f"{message}\n  raised in the simulator as {type_name}\n{evidence}".rstrip(
            "\n"
        )  # the usual end of an error's text
        facts = {"type_name": type_name, "message": message, "remote_traceback": evidence}
        return env_error_class(bases)(text, **facts)
    if origin == messages.REFUSED:
        where = f"\n  {evidence.strip()}" if evidence else ""
        return env_error_class(bases)(message + where, type_name=type_name, message=message)
    if origin == messages.CANNOT_CROSS:
        return CannotCross(message, path=evidence, type_name=type_name)
    raise BadFrame(f"the server refused the call: {message}")


def broken_rule(during: str, error: Exception) -> GymServiceError:
    """The error for bytes that this version of gym-service would not send."""
    if isinstance(error, WrongVersion):
        return VersionMismatch(f"{error}\n  try: the same version of gym-service on both sides")
    return ProtocolError(f"during {during} the other side broke the rules of the wire: {error}", during=during)
