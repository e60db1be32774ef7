"""What ``gym-service run`` shows of its clients: a table that lives, in a terminal; lines of a log elsewhere.

Knows sessions, as far as they are shown, and how a terminal is written to. Never knows how a client is let in or sent
away. Python 3.10 and up.
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gym_service_launcher.listener.listener import SessionObserver
from gym_service_launcher.listener.session import Session

from gym_service.cli.ps import age

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

HEADINGS = ("client", "env", "for", "steps", "steps/s", "memory")
# Beside the table there must be room for what stood in the terminal before.
MOST_ROWS = 30
# Over how long a rate is taken: short enough to live, long enough to be read.
RATE_S = 2.0


class PlainView(SessionObserver):
    """The address and how to use it on standard output; what goes on on standard error.

    Who reads the address from standard output may never read on.
    """

    def announce(self, address: str, lines: Sequence[str]) -> None:
        print(address, *(f"  {line}" for line in lines), sep="\n", flush=True)

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, and clients may go on
            print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


class TableView(PlainView):
    """The same in a terminal, and below it, always the last, who is there."""

    def __init__(self, console: "Console", live: "Live") -> None:
        self._console, self._live = console, live
        self._rates: dict[Session, _Rate] = {}
        self._address = ""

    def announce(self, address: str, lines: Sequence[str]) -> None:
        """In letters that can be copied: neither folded nor coloured in their midst."""
        self._address = address
        self._console.print(address, style="bold green", **PLAIN)
        for line in lines:
            self._console.print(f"  {line}", **PLAIN)
        self._console.print("Ctrl-C ends it; SIGTERM waits for the clients that are there.", style="dim", **PLAIN)
        self.look([], draining=False)

    def say(self, line: str) -> None:
        self._console.print(time.strftime("%H:%M:%S"), line, **PLAIN)

    def look(self, sessions: Sequence[Session], *, draining: bool) -> None:
        now = time.monotonic()
        known = self._rates
        self._rates = {each: known.get(each) or _Rate(now, each.steps) for each in sessions}
        self._live.update(self._drawn(sessions, draining=draining), refresh=True)

    def _drawn(self, sessions: Sequence[Session], *, draining: bool) -> "Group":
        from rich.console import Group
        from rich.text import Text

        count = f"{len(sessions)} client{'' if len(sessions) == 1 else 's'}"
        state = "no more are let in; a second SIGTERM ends it" if draining else self._address
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


# rich must not read markup in what others have named, nor colour or fold what is to be copied.
PLAIN: dict[str, Any] = {"soft_wrap": True, "markup": False, "highlight": False}


@contextlib.contextmanager
def view() -> Iterator[PlainView]:
    """What fits where standard output goes to."""
    if not sys.stdout.isatty():
        yield PlainView()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    # Transient: what has lived is no news once it has ended.
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    with live:
        yield TableView(console, live)


@dataclass
class _Rate:
    """Steps per second, over RATE_S."""

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
