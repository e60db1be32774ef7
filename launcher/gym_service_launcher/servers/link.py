"""ServerLink: what each kind of server offers to the process that uses it.

Three classes implement it: LocalServer (``local_server.py``), CommandServer (``over_command.py``) and AttachedServer
(``attached.py``). This module knows none of them, and never learns what the bytes on a stream mean. Python 3.10
and up.

The life of a link, and who calls what:

1. ``kinds.open_link`` starts a server or attaches to one. It returns the link before the server is up.
2. The factory calls ``begin``, then ``wait_until_up``, until each of them returns True.
3. The factory calls ``take_stream`` and ``accept_memory``, once each. From here on, frames travel.
4. Until the env is made, the factory turns failures into errors with ``start_error`` and ``import_advice``.
5. During a call, the connection calls ``died`` where the stream has ended, and ``diagnose`` where no answer came in
   time.
6. The connection closes the stream and takes the steps of ``close_in_steps``. After that nothing of the server is left.
"""

import errno
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

from gym_service_launcher.config.entry import MULTI_AGENT_APIS, Entry
from gym_service_launcher.errors import GymServiceError, ServerStartError
from gym_service_launcher.servers.stream import StreamEnd

SHOWN_TAIL_CHARS = 4000
LATE_ADVICE = "a longer timeout, timeouts = { start = … }, if it was still at work"


class ServerLink(Protocol):
    """One server and the way to it."""

    started_at: float
    """When the time of its start began, by ``time.monotonic()``."""

    # -- for the factory, while the server starts ------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Where the server runs, for people."""

    def begin(self, deadline: float) -> bool:
        """Send what the server needs to start; False where that was not done by the deadline.

        Called until it returns True. Several servers can begin before any of them is waited for. Raises
        ServerStartError where the stream has ended.
        """
        return True

    def wait_until_up(self, deadline: float) -> bool:
        """Wait until the first frame may be sent; False where the server is not up by the deadline.

        Called until it returns True. Raises ServerStartError where the stream has ended.
        """
        return True

    def take_stream(self) -> StreamEnd:
        """Hand over the client's end of the stream. Called once; the caller owns it from here on."""

    def accept_memory(self) -> socket.socket | None:
        """The socket over which memory is shared with the server; None where the two ends do not share a machine.

        Called at most once, once the server is up. Does not block. The caller owns the socket from here on.
        """

    def start_warning(self) -> str:
        """What the user must know about how the server was started; empty if there is nothing."""
        return ""

    def env_is_made(self) -> None:
        """Take note that the env is made: from here on the server counts as started. Called once."""
        return

    def keep_for_restart(self) -> Callable[[float], None]:
        """Keep what a restart of this server needs, such as its fork server.

        Returns the function that releases it. It takes the seconds that it may block for, and may be called any
        number of times.
        """
        return lambda ask_s: None

    def start_error(
        self, reason: str = "", advice: str = "", *, probe: bool = True, tail: str | None = None
    ) -> ServerStartError:
        """The error for a server that did not make its env. The caller raises it.

        Args:
            reason: what went wrong. Empty: the stream has ended, and this method finds the reason. That may take a
                second or more.
            advice: what the user can try; empty for the usual advice of this kind of server.
            probe: whether the target may be examined for the reason. False after a timeout: what was slow before
                would be slow again.
            tail: the end of the output, where it was kept earlier; None for the output so far.
        """

    def import_advice(self, *, is_missing: bool) -> str:
        """What the user can try after an import has failed in the target.

        ``is_missing``: the module itself was not found, as opposed to something that it needs.
        """

    def import_command(self) -> str:
        """A command for people that imports the simulator without a server; empty where this process knows none."""

    # -- for the connection, once there is one ---------------------------------------------------------------------

    def died(self, during: str) -> GymServiceError:
        """The error for a stream that has ended during a call. Blocks for a few seconds at most, to learn the cause."""

    def diagnose(self, end_sending: Callable[[], None] = lambda: None) -> tuple[str, str]:
        """Why the server does not answer: ``stopped``, ``blocked``, ``busy`` or ``unknown``; and its Python stack.

        Called once, for a server that is stopped right after: a diagnosis may disturb it. ``end_sending`` closes the
        sending direction of a stream that was taken, which some kinds need for it. Blocks for a few seconds at most.
        """

    def tail(self) -> str:
        """The end of what the server printed, as far as this process knows it."""

    @property
    def calls(self) -> memoryview:
        """Where to count the calls, at index 0. ``gym-service ps`` shows the number."""

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        """See the server to its end, in steps. The stream is closed already, or was never taken.

        Waits ``ask_s`` seconds for the server to end by itself, then uses force. Blocks for some seconds more than
        ``ask_s`` at most. Who closes several servers takes the same step of each in turn: then all of them end within
        that time. May be called any number of times, also where an earlier call has not taken all of its steps.
        """

    def close(self, ask_s: float) -> None:
        """Take all steps of ``close_in_steps``."""
        for _ in self.close_in_steps(ask_s):
            pass


def import_statement(entry: Entry) -> str:
    """What a person types into the target to see the simulator load, or fail to."""
    modules = ", ".join(entry.imports) or (entry.entry_point or "").partition(":")[0]
    return f"import {modules or ('pettingzoo' if entry.api in MULTI_AGENT_APIS else entry.api or 'gymnasium')}"


def start_statement(entry: Entry) -> str:
    """The same, and what makes the env where the entry names it: the simulator may have died while it was made."""
    statement = import_statement(entry)
    if not entry.entry_point:
        return statement
    module, _, name = entry.entry_point.partition(":")
    kwargs = ", ".join(f"{key}={value!r}" for key, value in entry.kwargs.items())
    if entry.imports and module not in entry.imports:
        statement += f", {module}"
    return f"{statement}; {module}.{name}({kwargs})"


def late_start_reason(timeout_s: float, state: str, stack: str) -> str:
    """The reason of a start that took too long: what the server was doing, and its Python stack."""
    indented = "".join(f"    {line}" for line in stack.splitlines(keepends=True))
    where = f"; its Python code was here:\n{indented}" if stack else ""
    return f"it was not up after {timeout_s:g} s ({state}){where}"


def limit_advice(error: OSError) -> str:
    """What the user can try where a limit of the system has kept a process from starting; empty for other errors."""
    if error.errno == errno.EAGAIN:
        return "fewer processes and threads, or a higher limit of them (ulimit -u, pids.max of the container)"
    if error.errno == errno.EMFILE:
        return "fewer open files, or a higher limit of them (ulimit -n)"
    if error.errno == errno.ENOMEM:
        return "more memory, or fewer envs at once"
    return ""


def output_block(tail: str) -> str:
    """The lines of an error that show the end of a server's output."""
    if not tail.strip():
        return "\n  output: none"
    return "\n  the end of its output:\n" + "\n".join(f"    {line}" for line in tail[-SHOWN_TAIL_CHARS:].splitlines())
