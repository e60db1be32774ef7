"""What ``gym-service run`` prints: a live table of its clients in a terminal, else the lines of a log.

Knows what a session shows of itself, and the terminal. Never knows how a client is accepted or rejected.
Python 3.10 and up.
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from gym_service_launcher.listener.listener import SessionObserver
from gym_service_launcher.listener.session import Session
from gym_service_launcher.processes.output_writer import OutputWriter

from gym_service.cli.ps import age

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

HEADINGS = ("client", "env", "for", "steps", "steps/s", "memory")
# The table must leave room for the log above it.
MOST_ROWS = 30
# Seconds over which a rate is measured: short enough to be current, long enough to be read.
RATE_S = 2.0


class PlainView(SessionObserver):
    """The address and how to use it on standard output, the log on standard error.

    A program that reads the address from standard output may never read more of it, and nobody may read the log.
    """

    def __init__(self, output: OutputWriter, log: OutputWriter) -> None:
        self._output, self._log = output, log

    def announce(self, address: str, lines: Sequence[str]) -> None:
        self._output.write("".join(f"{line}\n" for line in (address, *(f"  {line}" for line in lines))))

    def say(self, line: str) -> None:
        self._log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def finish(self) -> None:
        self._output.close()
        self._log.close()


class TableView(PlainView):
    """The same in a terminal, with a table of the clients below it."""

    def __init__(self, output: OutputWriter, console: "Console", live: "Live") -> None:
        super().__init__(output, output)
        self._console, self._live = console, live
        self._rates: dict[Session, _Rate] = {}
        self._address = ""

    def announce(self, address: str, lines: Sequence[str]) -> None:
        """Print the address so that it can be copied: not wrapped, and in one colour."""
        self._address = address
        self._console.print(address, style="bold green", **PLAIN)
        for line in lines:
            self._console.print(f"  {line}", **PLAIN)
        self._console.print(
            "Ctrl-C stops all servers. SIGTERM waits for the clients to disconnect.", style="dim", **PLAIN
        )
        self.show([], draining=False)

    def say(self, line: str) -> None:
        self._console.print(time.strftime("%H:%M:%S"), line, **PLAIN)

    def finish(self) -> None:
        self._live.stop()  # shows the cursor again
        super().finish()

    def show(self, sessions: Sequence[Session], *, draining: bool) -> None:
        now = time.monotonic()
        known = self._rates
        self._rates = {each: known.get(each) or _Rate(now, each.steps) for each in sessions}
        self._live.update(self._drawn(sessions, draining=draining), refresh=True)

    def _drawn(self, sessions: Sequence[Session], *, draining: bool) -> "Group":
        from rich.console import Group
        from rich.text import Text

        count = f"{len(sessions)} client{'' if len(sessions) == 1 else 's'}"
        state = "shutting down; a second SIGTERM stops all servers" if draining else self._address
        heading = Text.assemble("\n", (count, "bold"), "  ", (state, "yellow" if draining else "dim"))
        return Group(heading, self._table(sessions)) if sessions else Group(heading)

    def _table(self, sessions: Sequence[Session]) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for heading in HEADINGS:
            is_number = heading not in ("client", "env")
            table.add_column(heading, overflow="fold", justify="right" if is_number else "left", no_wrap=is_number)
        rates = {each: self._rates[each].update(each.steps) for each in sessions}
        room = max(3, min(MOST_ROWS, self._console.height - 6))
        for session in sessions[:room]:
            table.add_row(*map(Text, _cells(session, rates[session])))
        if len(sessions) > room:
            table.add_row(Text(f"and {len(sessions) - room} more"))
        return table


# rich must not read markup in names that others chose, nor colour or wrap what users copy.
PLAIN: dict[str, Any] = {"soft_wrap": True, "markup": False, "highlight": False}


@contextlib.contextmanager
def view() -> Iterator[PlainView]:
    """The view for the kind of standard output."""
    with contextlib.closing(OutputWriter(sys.stdout)) as output:
        if sys.stdout.isatty():
            with _table_view(output) as view:
                yield view
        else:
            with contextlib.closing(OutputWriter(sys.stderr)) as log:
                yield PlainView(output, log)


@contextlib.contextmanager
def _table_view(output: OutputWriter) -> Iterator["TableView"]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=cast("IO[str]", output))
    # Transient: the table disappears when the command ends.
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    with live:
        yield TableView(output, console, live)


@dataclass
class _Rate:
    """Steps per second, measured over RATE_S."""

    since: float
    steps: int
    per_s: float = 0.0

    def update(self, steps: int) -> float:
        now = time.monotonic()
        if now - self.since >= RATE_S:
            self.per_s = (steps - self.steps) / (now - self.since)
            self.since, self.steps = now, steps
        return self.per_s


def _cells(session: Session, rate: float) -> tuple[str, ...]:
    memory = f"{session.memory_bytes / 2**20:.0f} MiB"
    env = session.env_id or "…"
    duration = age(time.monotonic() - session.started_at)
    return (session.name, env, duration, f"{session.steps:,}", f"{rate:,.0f}", memory)
