"""A table for a pipe and for a terminal alike: columns of text, each as wide as its widest cell. Python 3.10 and up.

Knows text. Tables that change while they are looked at are rich's (``live_view.py``, ``build_progress.py``).
"""

from collections.abc import Sequence


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows that have equally many cells, two spaces between columns, no spaces at the end of a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
