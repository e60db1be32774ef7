"""Shows several builds at once: a table that moves on a terminal, and lines elsewhere.

Knows names and lines. Never knows what is built. Python 3.10 and up.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.table import Table

# How often the table is drawn (per second).
DRAWS_PER_S = 8


class Progress(Protocol):
    """Where the lines of the builds go."""

    def teller(self, name: str) -> Callable[[str], None]:
        """What to call with each line about one of them, from any thread."""


@contextmanager
def progress_of(names: Sequence[str]) -> Iterator[Progress]:
    """The progress of these builds, on standard error for as long as the block runs."""
    if not (names and sys.stderr.isatty()):
        yield PlainLines(max(map(len, names), default=0))
        return
    from rich.console import Console
    from rich.live import Live

    rows = LiveRows(names)
    console = Console(stderr=True)
    with Live(get_renderable=rows.table, console=console, refresh_per_second=DRAWS_PER_S, transient=True):
        yield rows


class PlainLines:
    """A line for each line, with the name before it."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lock = threading.Lock()

    def teller(self, name: str) -> Callable[[str], None]:
        def tell(line: str) -> None:
            with self._lock:
                print(f"{name.ljust(self._width)}  {line}", file=sys.stderr, flush=True)

        return tell


class LiveRows:
    """A row for each build: how long it has taken, and its last line."""

    def __init__(self, names: Sequence[str]) -> None:
        self._began: dict[str, float] = {}
        self._last = dict.fromkeys(names, "waits for its turn")

    def teller(self, name: str) -> Callable[[str], None]:
        def tell(line: str) -> None:
            self._began.setdefault(name, time.monotonic())
            self._last[name] = line.strip()

        return tell

    def table(self) -> "Table":
        """What is drawn."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for name, line in self._last.items():
            began = self._began.get(name)
            took = "" if began is None else f"{time.monotonic() - began:.0f} s"
            # As Text: what an installer prints is no markup.
            table.add_row(Text(name), Text(took), Text(line))
        return table
