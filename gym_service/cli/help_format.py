"""How commands are added, and how ``--help`` is laid out: at most 80 columns, no broken words, no empty metavars.

Knows argparse. Never knows the commands. Python 3.10 and up.
"""

import argparse
import shutil
import textwrap
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
WIDEST_COLUMNS = 80
HELP_COLUMN = 26


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs, and keeps lines that start with a space as they are: examples, commands."""

    def __init__(self, prog: str, **given: Any) -> None:
        width = min(shutil.get_terminal_size().columns, WIDEST_COLUMNS) - 2
        super().__init__(prog, max_help_position=HELP_COLUMN, width=width, **given)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = []
        for block in text.strip("\n").split("\n\n"):
            lines = block.split("\n")
            prose = " ".join(line for line in lines if not line.startswith(" "))
            kept = [line for line in lines if line.startswith(" ")]
            blocks.append("\n".join([*_wrap(prose, width), *kept]))
        return "\n\n".join(blocks)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrap(text, width)

    def _format_action(self, action: argparse.Action) -> str:
        # argparse puts a line with the metavar above the commands, which repeats the title of their group.
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(self._format_action, action._get_subactions()))
        return super()._format_action(action)


def add_command(commands: Commands, name: str, about: str, more: str) -> argparse.ArgumentParser:
    """Add a command. ``about`` is its line in the list of commands; its own help continues with ``more``."""
    description = f"{about[0].upper()}{about[1:]}. {more}".strip()
    return commands.add_parser(name, help=about, description=description, formatter_class=HelpFormatter)


def _wrap(text: str, width: int) -> list[str]:
    """Lines of whole words: ``gym-service`` and ``--token-file`` are words too."""
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)
